# shellcheck shell=bash
# nginx serves files of a guard point with sendfile: a hundred downloads at once, compared.
OWNER=root PROGRAMS=(/usr/sbin/nginx) READERS=www-data
PORT=8321 DOWNLOADS=100 ROUNDS=4 SIZES=(0 1 4095 4096 65537 300000 2000000)

configure() {
	cat >"$CASE_DIR/nginx.conf" <<-CONF
	user www-data;
	daemon off;
	worker_processes 2;
	pid $CASE_DIR/tmp/nginx.pid;
	error_log $CASE_DIR/tmp/error.log;
	events { worker_connections 512; }
	http {
		access_log off;
		sendfile on;
		client_body_temp_path $CASE_DIR/tmp/a; proxy_temp_path $CASE_DIR/tmp/b; fastcgi_temp_path $CASE_DIR/tmp/c;
		uwsgi_temp_path $CASE_DIR/tmp/d; scgi_temp_path $CASE_DIR/tmp/e;
		server { listen 127.0.0.1:$PORT; root $GUARD; }
	}
	CONF
}
fetch() { busybox wget -q -O "$2" "http://127.0.0.1:$PORT/$1" 2>>"$CASE_DIR/wget"; }
# download LABEL HOW: all at once, each by a process of its own. HOW once: every one succeeds; again: one that is
# refused is asked for again until it is served, while the agent is killed.
download() {
	local n file pids=() pid
	rm -rf "$CASE_DIR/got"
	mkdir "$CASE_DIR/got"
	: >"$CASE_DIR/wget"
	for ((n = 0; n < DOWNLOADS; n++)); do
		file=file$((n % ${#SIZES[@]}))
		(until fetch $file "$CASE_DIR/got/$n"; do
			echo "$file" >>"$CASE_DIR/missed"
			[ "$2" = again ] || exit 1
			sleep 0.1
		done) &
		pids+=($!)
	done
	[ "$2" != again ] || disturb
	for pid in "${pids[@]}"; do wait "$pid" || _fails "$1" "a download failed" "$(sort -u "$CASE_DIR/wget")"; done
	(cd "$CASE_DIR/got" && for ((n = 0; n < DOWNLOADS; n++)); do sha256sum $n; done) >"$CASE_DIR/sums"
	GOOD=0
	while read -r sum n; do
		if [ "$sum" = "${SUMS[$((n % ${#SIZES[@]}))]}" ]; then GOOD=$((GOOD + 1))
		else _fails "$1" "download $n differs"; fi
	done <"$CASE_DIR/sums"
	same "$1: every download is right" $DOWNLOADS $GOOD
}
disturb() {
	for _ in 1 2; do
		kill_agent
		start_agent
	done
}
answers() { fetch file1 /dev/null; }
work() {
	local i sum
	mkdir -m 755 "$GUARD"
	for i in "${!SIZES[@]}"; do
		head -c "${SIZES[$i]}" /dev/urandom >"$GUARD/file$i"
		sum=$(sha256sum "$GUARD/file$i")
		SUMS[i]=${sum%% *}
	done
	configure
	guard
	check "everything is encrypted" "$TK" settle --timeout 120
	/usr/sbin/nginx -c "$CASE_DIR/nginx.conf" &
	SERVER=$!
	wait_until "nginx answers" 60 answers || cat "$CASE_DIR/tmp/error.log"
	download "first" once
	for ((i = 2; i <= ROUNDS; i++)); do download "round $i" once; done
	intruder
	row "$ROUNDS times $DOWNLOADS parallel downloads, ${#SIZES[@]} files, sendfile" "none" "$(went "sha256 of each")" "$DOWNLOADS/$GOOD"
	begin_round
	: >"$CASE_DIR/missed"
	download "agent killed" again
	kill -QUIT $SERVER
	wait $SERVER
	sealed
	row "$DOWNLOADS parallel downloads, again if refused ($(wc -l <"$CASE_DIR/missed") were)" "kill -9 of the agent, 2 times" \
		"$(went "sha256 of each")" "$DOWNLOADS/$GOOD"
}
