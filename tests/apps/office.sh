# shellcheck shell=bash
# LibreOffice converts a document in a guard point, to another format and back; its text must be the same.
OWNER=1001 PROGRAMS=(/usr/lib/libreoffice/program/soffice.bin)
as 1001
# 79 and 81 are its words for "start me again", as after its profile was made; soffice(1), a script, obeys them.
convert() { # FORMAT FILE [DIRECTORY]
	local status
	while :; do
		status=0
		"${AS[@]}" /usr/lib/libreoffice/program/soffice.bin "-env:UserInstallation=file://$CASE_DIR/tmp/profile" \
			--headless --norestore --nologo --convert-to "$1" --outdir "${3:-$GUARD}" "$2" || status=$?
		[ $status = 79 ] || [ $status = 81 ] || return $status
	done
}
work() {
	local n
	mkdir -m 755 "$GUARD"
	mkdir -m 777 "$DISK/out"
	for ((n = 1; n <= 400; n++)); do echo "Paragraph $n of a topsecret letter: $((n * n)), and so on."; done >"$GUARD/letter.txt"
	cp "$GUARD/letter.txt" "$DISK/out/original.txt"
	chown -R 1001:1001 "$GUARD"
	guard
	check "the letter is encrypted" "$TK" settle --timeout 60
	permitted "to OpenDocument" convert odt "$GUARD/letter.txt"
	check "it is encrypted" "$TK" settle --timeout 60
	kill_agent
	start_agent
	permitted "from there to Word" convert docx "$GUARD/letter.odt"
	check "it is encrypted, too" "$TK" settle --timeout 60
	permitted "from there to text, outside" convert txt:Text "$GUARD/letter.docx" "$DISK/out"
	sed -i '1s/^\xef\xbb\xbf//' "$DISK/out/letter.txt"
	check "its text is the same" diff "$DISK/out/original.txt" "$DISK/out/letter.txt"
	intruder
	sealed
	row "txt to odt to docx to txt, 400 paragraphs" "kill -9 of the agent in between" "$(went "the text is the same")" -
}
