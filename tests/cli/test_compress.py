from tensornet_jax.potential.model_file import load_model


def test_compress_writes_a_faster_form_and_reports_its_errors(cli, model, molecules):
    result = cli(
        "compress", model, "fast.safetensors", "--structures", molecules, "--elements", "O,C,H"
    )
    assert result.exit_code == 0, result.stderr
    assert "eV/atom" in result.stdout
    compressed = load_model("fast.safetensors")
    assert compressed.elements.symbols == ("H", "C", "O")
    tables = compressed.config.compression
    assert tables is not None
    assert tables.rank >= 8
    assert compressed.metadata["compression"]["max_error_forces_eV_per_A"] <= 1e-5
    shown = cli("inspect", "fast.safetensors")
    assert "max_error_forces_eV_per_A" in shown.stdout
    again = cli("compress", "fast.safetensors", "faster.safetensors")
    assert again.exit_code == 2
    assert "compressed already" in again.stderr


def test_compress_keeps_only_elements_that_the_model_knows(cli, model):
    result = cli("compress", model, "fast.safetensors", "--elements", "H,Pt")
    assert result.exit_code == 2
    assert "Pt, which the model does not know" in result.stderr


def test_compress_does_not_overwrite_its_input(cli, model):
    result = cli("compress", model, model)
    assert result.exit_code == 2
    assert "is the input" in result.stderr
