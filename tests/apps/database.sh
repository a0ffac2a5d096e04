# shellcheck shell=bash
# Owns what the databases have in common: transfers between accounts by several clients at once, each acknowledged
# on standard output as soon as it is committed; servers and agents that are killed meanwhile; and what must
# hold whatever happened: nothing acknowledged is missing, no transfer is there by half.
#
# A database says   make_database   start_server   stop_server   kill_server   server_lives
#                   client          array: reads SQL and ends with the first error
#                   SCHEMA BEGIN    the two tables; what begins a transaction
#                   extra ID        statements beside the transfers, or nothing
#                   own_checks      by the database's own tools, while it runs; OWN_CHECKS names them, AT_REST
#                                   what stop_server looks at besides, or nothing

AT_REST=''
ACCOUNTS=60
CLIENTS=3
NOTE=$(printf 'topsecret %.0s' {1..40})

sql() { "${client[@]}" <<<"$1"; }
extra() { :; }

fill() {
	local id values=''
	for ((id = 1; id <= ACCOUNTS; id++)); do values="$values${values:+,}($id,1000)"; done
	echo "$SCHEMA insert into account values $values;"
}

# transfers NUMBER: until $CASE_DIR/calm is there, whatever happens to the server. A client that fails has
# nothing acknowledged, and another one is tried.
transfers() {
	local n=0 id from to amount answer
	while [ ! -e "$CASE_DIR/calm" ]; do
		coproc session { exec "${client[@]}" 2>>"$CASE_DIR/clients"; }
		# shellcheck disable=SC2154
		exec 7>&"${session[1]}" 8<&"${session[0]}" {session[1]}>&- {session[0]}<&-
		while [ ! -e "$CASE_DIR/calm" ]; do
			n=$((n + 1))
			id=$((((ROUND * 10 + TIMES) * 10 + $1) * 100000 + n)) # TIMES the load began in this boot
			from=$((RANDOM % (ACCOUNTS - 1) + 1)) to=$((from + RANDOM % (ACCOUNTS - from) + 1))
			amount=$((RANDOM % 200 - 100))
			echo "$BEGIN; update account set balance = balance - $amount where id = $from; \
				update account set balance = balance + $amount where id = $to; \
				insert into journal values ($id, $from, $to, $amount, '$NOTE$RANDOM'); commit;" >&7 || break
			[ $((n % 16)) != 0 ] || extra "$id" >&7 || break
			echo "select $id;" >&7 || break
			while read -r answer <&8 && [ "$answer" != "$id" ]; do :; done
			[ "$answer" = "$id" ] || break
			echo "ack $id." >>"$CASE_DIR/acks"
			echo "ack $id."
		done 2>/dev/null
		exec 7>&- 8<&-
		wait "${session_PID:-}" 2>/dev/null
		sleep 0.2
	done
}
LOADS=() TIMES=0
begin_load() {
	local number
	TIMES=$((TIMES + 1))
	: >"$CASE_DIR/clients"
	for ((number = 1; number <= CLIENTS; number++)); do
		(trap '' PIPE; transfers $number) &
		LOADS+=($!)
	done
}
end_load() {
	touch "$CASE_DIR/calm"
	wait "${LOADS[@]}"
	LOADS=()
	rm "$CASE_DIR/calm"
}
# A line that a power cut has torn does not count.
acknowledged() { cat "$ACKNOWLEDGED" "$CASE_DIR/acks" | sed -n 's/^ack \([0-9]*\)\.$/\1/p' | sort -u; }
count_acks() { wc -l <"$CASE_DIR/acks"; }
more_than() { [ "$(count_acks)" -ge "$1" ]; }
# more_acks LABEL N: N transfers more are acknowledged.
more_acks() { wait_until "$1" 120 more_than $(($(count_acks) + $2)) || tail -n 5 "$CASE_DIR/clients"; }

# A server that must open something may end by itself, and has to be started again: PostgreSQL's next log segment.
served_or_ended() { more_than "$1" || ! server_lives; }

# consistent LABEL: sets KEPT to acknowledged/found.
consistent() {
	local lost
	acknowledged >"$CASE_DIR/expected"
	sql 'select id from journal;' 2>"$CASE_DIR/clients" | sort >"$CASE_DIR/found"
	lost=$(comm -23 "$CASE_DIR/expected" "$CASE_DIR/found")
	KEPT="$(wc -l <"$CASE_DIR/expected")/$(comm -12 "$CASE_DIR/expected" "$CASE_DIR/found" | wc -l)"
	same "$1: nothing acknowledged is lost ($KEPT)" "" "${lost//$NEWLINE/ }"
	check "$1: something was acknowledged" test -s "$CASE_DIR/expected"
	permitted "$1: the sum is asked" sql 'select count(*), sum(balance) from account;'
	same "$1: no money came or went" "$ACCOUNTS $((ACCOUNTS * 1000))" "${OUTPUT//[|$'\t']/ }"
	permitted "$1: accounts and journal" sql 'select count(*) from account a where balance <> 1000
		- coalesce((select sum(amount) from journal where source = a.id), 0)
		+ coalesce((select sum(amount) from journal where target = a.id), 0);'
	same "$1: each account is what the journal says" 0 "$OUTPUT"
	own_checks "$1"
}

# What happened before is in KEPT; rows of one boot.
verdict() { # WORK DISTURBANCE
	consistent "$2"
	intruder
	row "$1" "$2" "$(went "$OWN_CHECKS ok")" "$KEPT"
	begin_round
}
work() {
	: >"$CASE_DIR/acks"
	guard
	if [ "$ROUND" = 0 ]; then
		make_database
		start_server
		permitted "accounts are opened" sql "$(fill)"
		disturb
	else
		check "nothing is left to recover" "$TK" settle --timeout 120
		start_server
		verdict "transfers, cut off" "power cut $ROUND"
	fi
	if [ "$LAST" = no ]; then
		begin_load
		more_acks "transfers go on" 5
		# From here on the host cuts the power when it likes.
		echo "load"
		wait
		give_up "the load goes on for ever"
	fi
	begin_load
	more_acks "transfers go on" 20
	end_load
	consistent "the end"
	intruder
	stop_server
	sealed
	row "$(acknowledged | wc -l) transfers in all" "orderly end" "$(went "$OWN_CHECKS${AT_REST:+, $AT_REST} ok")" "$KEPT"
}

# Servers, then agents, are killed while transfers are made.
disturb() {
	local from alone
	begin_load
	for _ in 1 2 3; do
		more_acks "transfers go on" "$((TRANSFERS / 3))"
		kill_server
		start_server
	done
	end_load
	verdict "$(count_acks) transfers, $CLIENTS clients" "kill -9 of $KILLED, 3 times"
	from=$(count_acks)
	begin_load
	for _ in 1 2 3; do
		more_acks "transfers go on" "$((TRANSFERS / 6))"
		kill_agent
		alone=$(count_acks)
		wait_until "open files serve without an agent, or the server ends by itself" 120 served_or_ended $((alone + 5))
		start_agent
		server_lives || start_server
	done
	more_acks "transfers go on" "$((TRANSFERS / 6))"
	end_load
	verdict "$(($(count_acks) - from)) transfers, $CLIENTS clients" "kill -9 of the agent, 3 times"
}
