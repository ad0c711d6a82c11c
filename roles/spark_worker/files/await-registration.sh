#!/bin/bash
# Returns once Spark's master knows the worker whose page is at this address and port; fails where it never will.
#
# The worker's own word is not enough. Where both come back at the same time, the master tells each worker of its records
# who leads. A worker that is new at such an address takes that for its registration, and asks for none any more; but the
# master knows it under the identity that it had before its end, and soon drops that.
set -uo pipefail

# A master that comes back drops what it does not hear of after 10 s.
patience_seconds=20

get_json() {
    local address=$1 port=$2
    exec 3<>"/dev/tcp/$address/$port" && printf 'GET /json/ HTTP/1.0\r\n\r\n' >&3 && timeout 2 cat <&3
} 2>/dev/null

id='"id" : "(worker-[^"]+)"'
master='"masterwebuiurl" : "http://([^:]+):([0-9]+)"'
while true; do
    worker=$(get_json "$@")
    if [[ $worker =~ $master ]]; then
        named_at=${named_at:-$SECONDS}
        known=$(get_json "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}")
        [[ $worker =~ $id && $known == *"\"${BASH_REMATCH[1]}\""* ]] && exit 0
        if ((SECONDS - named_at > patience_seconds)); then
            echo "The master does not know the worker that takes itself for registered: it must be started again." >&2
            exit 1
        fi
    fi
    sleep 0.2
done
