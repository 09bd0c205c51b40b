package e2e

// simulating begins the scripts of the months: `sigbox` is the binary that the file of the offset tells the time.
//
//	day N HOUR           the clock goes to this day and hour after the beginning
//	request OPTIONS      sigbox tuf request
//	held FILE KEY...     the request is signed with the keys, one after the other, and published
//	waits TEXT OPTIONS   sigbox rotate stops for others, and says what they have to do
//	signed NAME          the file NAME, signed by cosign 3: NAME.json, and by cosign 2: NAME.old
//	keep N               the set as it is now is what a client has that was last run in month N
const simulating = `
sigbox() { SIGBOX_CLOCK_OFFSET="$CLOCK" within "$SIMULATED" "$@"; }
day() { echo "$(( $1 * 24 + ${2:-0} - $HOURS ))h" > "$CLOCK.new"; mv "$CLOCK.new" "$CLOCK"; }
request() { sigbox tuf request --config "$CONFIG" "$@"; }
held() {
	file=$1; shift
	id=$(sigbox tuf status "$file" | sed -n 's/^request *\([0-9a-f]*\).*/\1/p')
	for key; do sigbox tuf sign "$file" --key "$key" --approve "$id"; done
	sigbox tuf publish "$file" --config "$CONFIG"
}
rotate() { sigbox rotate "$@" --config "$CONFIG"; }
waits() {
	want=$1; shift
	code=0; rotate "$@" > .out 2>&1 || code=$?
	cat .out
	[ "$code" = 3 ] && grep -qF -- "$want" .out || { echo "FAIL: exit code $code, and it does not say: $want"; exit 1; }
}
served() { curl -sSf --retry 20 --retry-delay 1 --retry-all-errors -o "$@"; }
signed() {
	echo "signed $1" > "$1"
	files=${MIRROR%/tuf}/trust
	for f in trusted_root.json signing_config.v0.2.json fulcio.crt.pem rekor.pub ctfe.pub; do served "$f" "$files/$f"; done
	# A service whose clock the database contradicts makes no timestamps, and Rekor v1 needs none.
	python3 -c 'import json; c = json.load(open("signing_config.v0.2.json")); c["tsaUrls"] = []; c.pop("tsaConfig", 0); json.dump(c, open("signing.json", "w"))'
	token=$(sigbox token --url "$URL" --email dev@example.com)
	within "$COSIGN3" sign-blob --yes --identity-token "$token" --trusted-root trusted_root.json --signing-config signing.json --bundle "$1.json" "$1" </dev/null
	SIGSTORE_ROOT_FILE=$WORK/fulcio.crt.pem SIGSTORE_REKOR_PUBLIC_KEY=$WORK/rekor.pub SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=$WORK/ctfe.pub \
		within "$COSIGN2" sign-blob --yes --identity-token "$token" --fulcio-url "$FULCIO" --rekor-url "$REKOR" --bundle "$1.old" "$1" </dev/null
}
keep() {
	mkdir "month$1"
	for f in root timestamp; do served "month$1/$f.json" "$MIRROR/$f.json"; done
	for f in timestamp:snapshot snapshot:targets; do
		n=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["signed"]["meta"][sys.argv[2]]["version"])' "month$1/${f%:*}.json" "${f#*:}.json")
		served "month$1/${f#*:}.json" "$MIRROR/$n.${f#*:}.json"
	done
}
beside=$(dirname "$CONFIG")
`

// thirteenMonths are ceremonies and rotations that end now, in every month but two. The instance is restarted
// between the parts: where its configuration names another key, and where services are to say at once what they say
// within a minute.
var thirteenMonths = []string{`
keep 0
signed blob0
day 15
request --renew-root --out renewed.json
held renewed.json "$KEYS/tuf-root.key"
day 30 # 2 of 3 people hold the root from now on
for who in alice bob carol dave erin; do sigbox tuf key --out "$who.key"; done
request --root-key alice.key.pub --root-key bob.key.pub --root-key carol.key.pub --out three.json
held three.json "$KEYS/tuf-root.key" alice.key bob.key
refuses "has no part in this request" sigbox tuf sign three.json --key dave.key --approve "$id"
day 91
waits tuf-timestamp-2-root.json tuf-timestamp --yes
sed -i 's#tuf/timestamp\.key#tuf/timestamp-2.key#' "$CONFIG"
held "$beside/tuf-timestamp-2-root.json" alice.key carol.key
says switched rotate tuf-timestamp --resume --yes
`, `
day 121
sigbox log rotate rekor-v1 --yes --config "$CONFIG"
sigbox log rotate rekor-v2 --yes --config "$CONFIG"
`, `
for i in $(seq 60); do if sigbox tuf status --config "$CONFIG" | grep -q /shards/; then break; fi; sleep 0.5; done
request --out shard.json
held shard.json "$KEYS/tuf-targets.key"
refuses 'clients have until' sigbox log rotate rekor-v2 --resume --yes --config "$CONFIG"
day 123
says 'takes entries now' sigbox log rotate rekor-v2 --resume --yes --config "$CONFIG"
day 152
request --targets-key dave.key.pub --out dave.json
held dave.json bob.key carol.key dave.key
day 182
keep 6
signed blob6
waits ca-intermediate-2.csr ca-intermediate --yes
sigbox ca sign-csr "$beside/ca-intermediate-2.csr" --root "$KEYS" --out answer.pem
waits ca-intermediate-2-publish.json ca-intermediate --resume --yes --chain answer.pem
held "$beside/ca-intermediate-2-publish.json" dave.key
refuses 'clients have until' rotate ca-intermediate --resume --yes
day 191
waits ca.key ca-intermediate --resume --yes
sed -i 's#ca/ca\.key#ca/ca-2.key#; s#ca/chain\.pem#ca/chain-2.pem#' "$CONFIG"
`, `
waits ca-intermediate-1-retire.json ca-intermediate --resume --yes
held "$beside/ca-intermediate-1-retire.json" dave.key
says 'retired ca-intermediate 1' rotate ca-intermediate --resume --yes
day 213
signed blob7
day 243
waits tsa-2.csr tsa --yes
sigbox ca sign-csr "$beside/tsa-2.csr" --root "$KEYS" --out tsa.pem
waits tsa-2-publish.json tsa --resume --yes --chain tsa.pem
held "$beside/tsa-2-publish.json" dave.key
refuses 'clients have until' rotate tsa --resume --yes
day 252
waits ca.tsa.key tsa --resume --yes
sed -i 's#ca/tsa\.key#ca/tsa-2.key#; s#ca/tsa-chain\.pem#ca/tsa-chain-2.pem#' "$CONFIG"
`, `
waits tsa-1-retire.json tsa --resume --yes
held "$beside/tsa-1-retire.json" dave.key
says 'retired tsa 1' rotate tsa --resume --yes
day 274
waits tuf-snapshot-2-root.json tuf-snapshot --yes
sed -i 's#tuf/snapshot\.key#tuf/snapshot-2.key#' "$CONFIG"
held "$beside/tuf-snapshot-2-root.json" alice.key bob.key
says switched rotate tuf-snapshot --resume --yes
`, `
day 335 # Carol has lost her key
request --root-key alice.key.pub --root-key bob.key.pub --root-key erin.key.pub --out erin.json
held erin.json alice.key bob.key
day 365
keep 12
request --renew-root --renew-targets --out year.json
held year.json bob.key erin.key dave.key
day 394
waits tuf-timestamp-3-root.json tuf-timestamp --yes
sed -i 's#tuf/timestamp-2\.key#tuf/timestamp-3.key#' "$CONFIG"
held "$beside/tuf-timestamp-3-root.json" alice.key erin.key
says switched rotate tuf-timestamp --resume --yes
sigbox expiry --config "$CONFIG"
`}
