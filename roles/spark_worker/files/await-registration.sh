#!/bin/bash
# Returns once Spark's master knows the worker whose page is at this address and port. Fails if it never will.
#
# The worker's own state is not enough. If both restart at the same time, the master tells each worker on record
# that it leads. A new worker at such an address takes this for its registration and does not register. But the
# master knows only the worker's old identity, and soon drops it.
set -uo pipefail

# A restarted master drops workers that it has not heard from after 10 s.
timeout_seconds=20

get_json() {
    local address=$1 port=$2
    # A dead host does not even refuse the connection, so the whole question has a time-out.
    timeout 2 /bin/bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /json/ HTTP/1.0\r\n\r\n" >&3 && cat <&3' "$address" "$port"
} 2>/dev/null

id='"id" : "(worker-[^"]+)"'
master='"masterwebuiurl" : "http://([^:]+):([0-9]+)"'
while true; do
    worker=$(get_json "$@")
    if [[ $worker =~ $master ]]; then
        named_at=${named_at:-$SECONDS}
        known=$(get_json "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}")
        [[ $worker =~ $id && $known == *"\"${BASH_REMATCH[1]}\""* ]] && exit 0
        if ((SECONDS - named_at > timeout_seconds)); then
            echo "The master does not know this worker, although the worker believes that it is registered: restart the worker." >&2
            exit 1
        fi
    fi
    sleep 0.2
done
