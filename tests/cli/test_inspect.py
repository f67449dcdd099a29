def test_inspect_describes_a_model(cli, model):
    result = cli("inspect", model)
    assert result.exit_code == 0, result.stderr
    for text in ("tensornet", "3 Å", "float64", "-13.6", "num_channels: 8", "forces, stress"):
        assert text in result.stdout
    parameters = next(line for line in result.stdout.splitlines() if line.startswith("parameters"))
    assert int(parameters.split()[-1].replace(",", "")) > 500


def test_inspect_lists_the_paths_that_settings_of_training_take(cli, model):
    lines = cli("inspect", model, "--parameters").stdout.splitlines()
    assert any(line.split() == ["embedding/gates_0/bias", "8"] for line in lines)
    assert any(line.split() == ["readouts_energy/output/kernel", "4", "×", "1"] for line in lines)
    assert "embedding/gates_0/bias" not in cli("inspect", model).stdout


def test_inspect_audits_data(cli, molecules):
    result = cli("inspect", molecules)
    assert result.exit_code == 0, result.stderr
    assert "forces" in result.stdout


def test_inspect_takes_one_model(cli, model, molecules):
    result = cli("inspect", model, molecules)
    assert result.exit_code == 2
    assert "one model at a time" in result.stderr
