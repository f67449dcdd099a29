"""What the site has besides the pages in `docs/`: what is made of the package itself."""
