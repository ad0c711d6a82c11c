"""What the deployment's tests do from the control node: Vagrant, playbooks, and commands on hosts."""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from emostream import config
from emostream.config import ClientSettings, TokensSettings
from emostream.tokens.own import OwnTokens

REPOSITORY = Path(__file__).resolve().parents[2]
INVENTORIES = REPOSITORY / "inventory"
BIN = Path(sys.executable).parent
_SLOWEST_SHOWN = 12
_ENVIRONMENT = {
    # Ansible starts Python hundreds of times, which must not be measured.
    **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "ANSIBLE_NOCOLOR": "1",
    "VAGRANT_NO_COLOR": "1",
    "VAGRANT_CHECKPOINT_DISABLE": "1",
}


def operator_context(inventory: str) -> ssl.SSLContext:
    """With what an operator at the control node asks the admin listeners of an inventory's hosts."""
    files = REPOSITORY / "build" / "secrets" / inventory / "certificates"
    context = ssl.create_default_context(cafile=files / "ca.pem")
    context.load_cert_chain(files / "operator.pem")
    return context


@contextlib.contextmanager
def trusted(inventory: str) -> Iterator[None]:
    """Let our clients trust the CA of an inventory's hosts, once site.yml has made it."""
    with pytest.MonkeyPatch.context() as patch:
        file = REPOSITORY / "build" / "secrets" / inventory / "certificates" / "ca.pem"
        patch.setenv(ClientSettings.variable("ca_file"), str(file))
        yield


def machines(inventory: str) -> dict[str, dict[str, Any]]:
    """The machines of a folder of inventory/, by name: `ansible_host`, `memory_mib` and `cores`."""
    hosts: dict[str, dict[str, Any]] = _inventory(inventory)["hosts"]
    return hosts


def hosts_of(inventory: str, group: str) -> list[str]:
    """The names of the hosts of a group, such as `kafka`, in a folder of inventory/."""
    return list(group_of(inventory, group))


def group_of(inventory: str, group: str) -> dict[str, Any]:
    """The variables of each host of a group, by its name, as hosts.yml has them."""
    content = _inventory(inventory)["children"][group]
    return {host: {**content.get("vars", {}), **(own or {})} for host, own in content["hosts"].items()}


def _inventory(name: str) -> Any:
    return yaml.safe_load((INVENTORIES / name / "hosts.yml").read_text())["all"]


def run(
    command: Sequence[str | Path], *, seconds: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it in the repository. Its two outputs are joined, because an error may be in either."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=REPOSITORY,
        env={**_ENVIRONMENT, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


def succeed(command: Sequence[str | Path], *, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run it in the repository and return its output. Fails the test, with the output, if the command fails."""
    done = run(command, seconds=seconds, environment=environment)
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}"
    return done.stdout


def timed(command: Sequence[str | Path], *, seconds: float) -> tuple[float, str]:
    """Like `succeed`. Returns the seconds that it took, and its output."""
    started = time.monotonic()
    output = succeed(command, seconds=seconds)
    return time.monotonic() - started, output


def created_machines(inventory: str = "vagrant") -> list[str]:
    """The machines of a folder of inventory/ that Vagrant has made already, running or not."""
    environment = {"EMOSTREAM_INVENTORY": inventory}
    lines = succeed(["vagrant", "status", "--machine-readable"], seconds=120, environment=environment).splitlines()
    states = [line.split(",") for line in lines]
    return [fields[1] for fields in states if fields[2] == "state" and fields[3] != "not_created"]


@dataclass(frozen=True)
class Task:
    """The result of a task on one host: `[host] play: task`, and whether it neither changed nor failed."""

    name: str
    seconds: float
    is_unchanged: bool


@dataclass(frozen=True)
class PlaybookRun:
    """A playbook that has run."""

    status: int
    output: str
    seconds: float
    tasks: list[Task]

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something, or failed."""
        return [task.name for task in self.tasks if not task.is_unchanged]

    @property
    def summary(self) -> str:
        """How long it took, and the slowest tasks, each on its slowest host."""
        slowest = sorted(self.tasks, key=lambda task: -task.seconds)
        by_task = {task.name.partition("] ")[2]: task for task in reversed(slowest)}
        top = sorted(by_task.values(), key=lambda task: -task.seconds)[:_SLOWEST_SHOWN]
        return "\n".join([f"{self.seconds:.0f} s, of which", *(f"{task.seconds:6.1f} s  {task.name}" for task in top)])


def play(playbook: str, *arguments: str, inventory: Path | None = None, seconds: float) -> PlaybookRun:
    """Run a playbook over the hosts of an inventory, or of the default one."""
    command = ["ansible-playbook", playbook, *arguments]
    if inventory:
        command += ["--inventory", str(inventory)]
    with tempfile.TemporaryDirectory() as folder:
        # The format of test reports has each task, its time, and whether it changed anything.
        report = {
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit",
            "JUNIT_OUTPUT_DIR": folder,
            "JUNIT_FAIL_ON_CHANGE": "true",
            "JUNIT_HIDE_TASK_ARGUMENTS": "true",
        }
        started = time.monotonic()
        done = run(command, seconds=seconds, environment=report)
        taken = time.monotonic() - started
        tasks = [task for path in Path(folder).iterdir() for task in _tasks(path)]
    return PlaybookRun(done.returncode, done.stdout, taken, tasks)


def variables(inventory: Path, host: str, *names: str) -> dict[str, Any]:
    """The values of a host's variables, as playbooks/group_vars/ computes them from the inventory."""
    shown = ", ".join(f"'{name}': {name}" for name in names)
    command = ["ansible", host, "--inventory", str(inventory), "--playbook-dir", "playbooks"]
    command += ["--module-name", "ansible.builtin.debug", "--args", f"msg={{{{ {{{shown}}} }}}}"]
    # Without the facts of hosts that somebody has deployed from this checkout.
    environment = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_CACHE_PLUGIN": "memory"}
    done = run(command, seconds=200, environment=environment)
    assert done.returncode == 0, done.stdout
    values: dict[str, Any] = json.loads(done.stdout.partition(" => ")[2])["msg"]
    return values


def _tasks(report: Path) -> list[Task]:
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - Ansible wrote it just now
    return [Task(case.attrib["name"], float(case.attrib["time"]), case.find("failure") is None) for case in cases]


def tokens(inventory: str) -> OwnTokens:
    """What signs tokens for a system of this inventory, once site.yml has made the secret."""
    secret_file = REPOSITORY / "build" / "secrets" / inventory / "tokens"
    return OwnTokens(config.load(ClientSettings), config.load(TokensSettings, secret_file=str(secret_file)))
