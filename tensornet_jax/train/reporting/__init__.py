"""What a run tells while it goes on, and the report it leaves."""
