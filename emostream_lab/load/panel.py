"""Shows the run in Locust's web UI, and writes a folder for each run: Locust's page and report, with our plots."""

import hmac
import json
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gevent
from flask import Flask, Response, jsonify, redirect, request, session, url_for
from flask_login import UserMixin, login_user
from locust.env import Environment
from locust.html import get_html_report
from locust.web import WebUI

from emostream.errors import ConfigurationError
from emostream_lab.load.judge import Judge, Phase
from emostream_lab.load.options import Options
from emostream_lab.load.report import Timeline, summary
from emostream_lab.load.run import now_seconds

_FRAGMENT = Path(__file__).with_name("panel.html")
_SAMPLE_SECONDS = 2.0
_USER = "emostream"


def install(environment: Environment, judge: Judge) -> None:
    """Watch every run of this process: show it in the web UI if there is one, and write its folder at the end."""
    panel = _Panel(environment, judge)
    environment.events.test_start.add_listener(panel.begin)
    environment.events.test_stop.add_listener(panel.end)
    if environment.web_ui is not None:
        _show(environment.web_ui, panel)
        if environment.web_ui.web_login:
            _protect(environment.web_ui, Options.of(environment).password_file)


class _Panel:
    def __init__(self, environment: Environment, judge: Judge) -> None:
        self._environment = environment
        self._judge = judge
        self._timeline = Timeline()
        self._sampling: gevent.Greenlet | None = None
        self._folder: Path | None = None

    def summary(self) -> dict[str, Any]:
        judge = self._judge
        plots = summary(judge.verdict, judge.reports, self._timeline, self._environment.stats)
        folder = None if self._folder is None else str(self._folder)
        return {"run": judge.runs, "phase": judge.phase, "folder": folder, **plots}

    # Handlers that Locust calls.

    def begin(self, **_: Any) -> None:
        self._timeline = Timeline()
        self._folder = None
        self._sampling = gevent.spawn(self._sample_forever)

    def end(self, **_: Any) -> None:
        if self._sampling is None or self._judge.verdict is None:
            return
        self._sampling.kill(block=False)
        self._sampling = None
        self._folder = self._write()
        print(f"report: {self._folder / 'report.html'}\n", flush=True)

    def _sample_forever(self) -> None:
        while self._judge.phase is not Phase.ENDED:
            gevent.sleep(_SAMPLE_SECONDS)
            runner = self._environment.runner
            self._timeline.sample(now_seconds() - self._judge.started_seconds, runner.user_count, runner.stats)

    def _write(self) -> Path:
        options = Options.of(self._environment)
        folder = options.results / f"{time.strftime('%Y-%m-%dT%H-%M-%S')}-{options.shape}"
        folder.mkdir(parents=True, exist_ok=True)
        content = self.summary()
        (folder / "run.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
        page = get_html_report(self._environment, show_download_link=False)
        (folder / "report.html").write_text(with_plots(page, content), encoding="utf-8")
        return folder


def with_plots(page: str, content: dict[str, Any] | None = None) -> str:
    """Add the panel to the end of a Locust page. Without `content`, the panel requests it every two seconds."""
    # Only `</` can end a script element, so escape it.
    data = json.dumps(content, ensure_ascii=False).replace("</", "<\\/") if content is not None else ""
    fragment = _FRAGMENT.read_text(encoding="utf-8").replace("{{ data }}", data)
    # Locust's report has the same tag inside its scripts, so insert before the last one.
    before, end, after = page.rpartition("</body>")
    return f"{before}{fragment}{end}{after}"


def _show(web_ui: WebUI, panel: _Panel) -> None:
    app: Flask = web_ui.app

    def run() -> Response:
        return jsonify(panel.summary())

    base_path = web_ui.environment.parsed_options.web_base_path
    app.add_url_rule(f"{base_path}/run.json", view_func=web_ui.auth_required_if_enabled(run))

    @app.after_request
    def add_panel(response: Response) -> Response:
        if request.endpoint == "locust.index" and response.status_code == HTTPStatus.OK:
            response.set_data(with_plots(response.get_data(as_text=True)))
        return response


def _protect(web_ui: WebUI, password_file: str) -> None:
    """Require the password of the web UI. Raises ConfigurationError if there is no password file."""
    if not password_file:
        raise ConfigurationError("--web-login needs --password-file, the file with the password of the web UI.")
    password = Path(password_file).read_text(encoding="utf-8").strip()
    app: Flask = web_ui.app
    # The key is derived from the password, so a change of the password ends all sessions.
    app.secret_key = hmac.digest(password.encode(), b"emostream sessions", "sha256")
    login = f"{web_ui.environment.parsed_options.web_base_path}/login_submit"
    web_ui.auth_args = {"username_password_callback": login}
    user = UserMixin()
    user.id = _USER
    web_ui.login_manager.user_loader(lambda user_id: user if user_id == _USER else None)

    @app.post(login)
    def log_in() -> Any:
        given = request.form.get("username", ""), request.form.get("password", "")
        if hmac.compare_digest("\n".join(given).encode(), f"{_USER}\n{password}".encode()):
            login_user(user)
            return redirect(url_for("locust.index"))
        session["auth_error"] = f"The user is {_USER}; the password is not this one."
        return redirect(url_for("locust.login"))
