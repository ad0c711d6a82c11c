"""The command and configuration of nchan, the pub/sub module of nginx, from Debian's packages.

The set-up of `make bench` downloads the packages with apt and unpacks them. It does not install them.
"""

from pathlib import Path

from emostream_lab.machine.bootstrap import NCHAN
from emostream_lab.processes.servers import HOST

PUBLISH_PATH = "/publish"
STREAM_PATH, WEBSOCKET_PATH = "/stream", "/ws"

# The fastest configuration: one worker, enough connections for a run, everything in memory, and no log.
_CONFIGURATION = """
load_module {modules}/ngx_nchan_module.so;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; multi_accept on; }}
http {{
    access_log off;
    nchan_shared_memory_size 128M;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {host}:{port} backlog=4096;
        location = {publish} {{ nchan_publisher; nchan_channel_id swarms; nchan_message_buffer_length 10; }}
        location = {stream} {{ nchan_subscriber eventsource; nchan_channel_id swarms; {newest} }}
        location = {websocket} {{ nchan_subscriber websocket; nchan_channel_id swarms; {newest} }}
    }}
}}
"""


def command(directory: Path, port: int) -> list[str]:
    """Return the command that runs nginx, and write its configuration to `directory`."""
    directory = directory.absolute()
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            modules=NCHAN / "usr/lib/nginx/modules",
            directory=directory,
            host=HOST,
            port=port,
            publish=PUBLISH_PATH,
            stream=STREAM_PATH,
            websocket=WEBSOCKET_PATH,
            newest="nchan_subscriber_first_message newest;",
        )
    )
    return [str(NCHAN / "usr/sbin/nginx"), "-c", str(configuration), "-p", str(directory), "-e", "stderr"]
