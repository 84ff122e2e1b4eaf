#!/usr/bin/env python3
"""Runs the programs of the public test suite of WASI for 0.3, except services and sockets.

    git clone https://github.com/WebAssembly/wasi-testsuite
    tests/sandbox/wasi_testsuite.py wasi-testsuite

Builds them with cargo in a temporary folder. `RUNNER` names another program than `target/release/runner`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = Path(sys.argv[1]).resolve() / "tests/rust/wasm32-wasip3"
RUNNER = Path(os.environ.get("RUNNER", "target/release/runner")).resolve()
PACKAGE = """
[package]
name = "test_wasm32_wasip3"
version = "0.0.0"
edition = "2024"
autobins = false
[dependencies]
futures = "0.3"
wit-bindgen = { version = "0.58", features = ["async-spawn"] }
[workspace]
"""

with tempfile.TemporaryDirectory() as made:
    folder = Path(made)
    shutil.copytree(SUITE, folder, dirs_exist_ok=True)
    names, package, scenario = [], PACKAGE, 'name = "wasi-testsuite"\ndefaults.timeout = "20s"\n'
    for program in sorted(folder.glob("src/bin/*.rs")):
        name, settings = program.stem, program.with_suffix(".json")
        settings = json.loads(settings.read_text()) if settings.exists() else {}
        if name.startswith("sockets-") or "world" in settings:
            continue
        names.append(name)
        package += f'[[example]]\nname = "{name}"\npath = "src/bin/{name}.rs"\ncrate-type = ["cdylib"]\n'
        # `/scratch` and `/artifacts` are further folders.
        program.write_text(program.read_text().replace("[(dir, _)] =>", "[(dir, _), ..] =>"))
        steps = {step["type"]: step for step in settings.get("operations", [])}
        start = steps.get("run", {})
        scenario += f'[providers.{name}]\nplugin = "{name}.wasm"\noutput = "text"\n'
        scenario += f'args = {json.dumps(start.get("args", []))}\nstdin = {json.dumps(steps.get("write", {}).get("payload", ""))}\n'
        for key, value in start.get("env", {}).items():
            scenario += f"grants.env.{key} = {json.dumps(value)}\n"
        if "root" in settings:
            shutil.copytree(folder / "src/bin" / settings["root"], folder / name)
            scenario += f'grants.fs = [{{ path = "{name}", mount = "/data", mode = "rw" }}]\nlimits.scratch = "64MiB"\n'
        code = steps.get("wait", {}).get("exit_code", 0)
        scenario += f'[[tests]]\nid = "{name}"\nproviders = ["{name}"]\ninput = ""\nexpect = {{ exit_code = {code} }}\n'
    (folder / "Cargo.toml").write_text(package)
    (folder / "scenario.toml").write_text(scenario)
    build = ["cargo", "build", "--release", "--examples", "--target", "wasm32-wasip2"]
    subprocess.run(build, cwd=folder, check=True)
    for name in names:
        built = f"{name.replace('-', '_')}.wasm"
        shutil.copy(folder / "target/wasm32-wasip2/release/examples" / built, folder / f"{name}.wasm")
    sys.exit(subprocess.run([RUNNER, "exec", "scenario.toml"], cwd=folder).returncode)
