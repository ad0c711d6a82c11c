#!/bin/bash
# Returns once this master works and one of all masters leads: await-leader.sh PORT OWN_ADDRESS OTHER_ADDRESS...
#
# An open port is not enough: a master that is still recovering has one too, and says RECOVERING. A master that stands by
# waits for the leader, so that a restart of all, one after the other, never leaves the workers without one.
set -uo pipefail

port=$1
own=$2
shift 2

# Asks the page of a master. A dead host does not even refuse the connection, so the whole question has a time-out.
says() {
    timeout 2 /bin/bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET /json/ HTTP/1.0\r\n\r\n" >&3 && grep -q "$2" <&3' \
        "$1" "$port" "\"status\" : \"$2\""
} 2>/dev/null

until says "$own" ALIVE; do
    if says "$own" STANDBY; then
        for other; do
            says "$other" ALIVE && exit 0
        done
    fi
    sleep 0.2
done
