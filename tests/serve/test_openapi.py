"""Requests that schemathesis makes from the OpenAPI document: none of them is a server error or breaks the document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.serving import serving

CHECKS = "not_a_server_error,content_type_conformance,status_code_conformance,response_schema_conformance"


@pytest.mark.weights
@pytest.mark.slow
def test_responses_to_generated_requests_are_those_of_the_document(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    with serving("--rate", "1000") as server:
        command = [program, "run", f"{server.url}/openapi.json", "--checks", CHECKS, "--max-examples", "10"]
        command += ["--seed", "1", "--request-timeout", "60", "--phases", "fuzzing", "--no-color"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-1000:]
    (generated, passed) = re.search(r"(\d+) generated, (\d+) passed", result.stdout).groups()  # type: ignore[union-attr]
    assert generated == passed
    assert int(passed) >= 50
