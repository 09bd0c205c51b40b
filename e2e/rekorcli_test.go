package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/matrix"
)

// mostResident is what an instance may need with an entry of every kind in its log, in bytes: see
// docs/design/0010.
const mostResident = 100 << 20

const kindsRow = "every command; every kind of entry and format of keys, made by gpg, minisign, ssh-keygen, openssl, jarsigner, rpmsign"

// TestRekorCLIKinds: rekor-cli uploads what the real tools have signed, of every kind and in every format of
// keys, finds it again in every way that it knows, and verifies it.
func TestRekorCLIKinds(t *testing.T) {
	defer cell(t, "rekor-cli", kindsRow, 1)()
	t.Parallel()
	maker, err := filepath.Abs("../tlog/entry/upstream/testdata/make.sh")
	if err != nil {
		t.Fatal(err)
	}
	started, r := time.Now(), start(t)
	idle := resident(t, r.Pid())
	cmd := exec.CommandContext(t.Context(), maker, filepath.Join(r.work, "samples"))
	cmd.Env = r.base()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", maker, err, out)
	}
	r.script(t, kindsScript, r.env(t, "KEPT="+filepath.Dir(maker)))
	n := resident(t, r.Pid())
	if n > mostResident {
		t.Errorf("%d MiB resident", n>>20)
	}
	keep(t, "kinds", started, map[string]any{"resident_idle_bytes": idle, "resident_with_every_kind_bytes": n, "limit_bytes": mostResident})
	r.keepRun(t, "rekor-cli", kindsRow, 1, matrix.Works)
}

const kindsScript = `
cd samples
sum() { sha256sum "$1" | cut -d' ' -f1; }
# said TEXT: so did the command before, too.
said() { grep -qF -- "$1" "$WORK/.out"; }
# entry FLAGS: what upload and verify take. It leaves the id of the entry in $id.
entry() {
	says 'Created entry' rekorcli upload "$@"
	id=$(sed -n 's#.*/entries/##p' "$WORK/.out")
	says "$id" rekorcli upload "$@"
	said 'Entry already exists'
	says "$id" rekorcli get --uuid "$id"
	index=$(sed -n 's/^Index: *//p' "$WORK/.out")
	says "\"LogIndex\":$index" rekorcli get --log-index "$index" --format json
	says 'Current Root Hash' rekorcli verify "$@"
	said "Entry Index in Current Tree: $index"
	says 'Current Root Hash' rekorcli verify --uuid "$id"
	says 'Current Root Hash' rekorcli verify --log-index "$index"
}
# found FLAGS: a search finds the entry.
found() { says "$id" rekorcli search "$@"; }
key() { found --public-key "$1" --pki-format "$2"; }

rekord() { # FORMAT KEY SIGNATURE
	entry --type rekord --artifact artifact --signature "$3" --public-key "$2" --pki-format "$1"
	key "$2" "$1"
	found --artifact artifact
	found --sha "$(sum artifact)"
	found --sha "sha256:$(sum artifact)"
	found --operator and --artifact artifact --public-key "$2" --pki-format "$1"
	first=${first:-$id}
}
rekord pgp pgp.pub artifact.asc
found --email dev@example.com
found --email DEV@example.com
found --subject dev@example.com
found --operator and --email dev@example.com --sha "$(sum artifact)"
rekord pgp pgp.pub.bin artifact.gpg
rekord minisign minisign.pub artifact.minisig
rekord minisign minisign.pub artifact.legacy.minisig
rekord ssh ssh-ed25519.pub artifact.ssh-ed25519
rekord ssh ssh-ecdsa.pub artifact.ssh-ecdsa
rekord ssh ssh-rsa.pub artifact.ssh-rsa
rekord x509 ec.pub artifact.ec
rekord x509 ec.crt artifact.ec
found --email dev@example.com
says "$first" rekorcli search --operator or --email dev@example.com --sha "$(sum statement)"
refuses 'no matching entries found' rekorcli search --operator and --email dev@example.com --sha "$(sum statement)"
refuses 'no matching entries found' rekorcli search --email nobody@example.com
sed "s/$(sum artifact)/$(sum statement)/" "$KEPT/rekord-minisign.json" >wrong.json
refuses 'SHA mismatch' rekorcli upload --type rekord --entry wrong.json
# Its verify takes no --entry, whatever its help says.
says 'Created entry' rekorcli upload --type rekord --entry "$KEPT/rekord-minisign.json"

entry --type hashedrekord --artifact-hash "$(sum artifact)" --signature artifact.ec --public-key ec.pub --pki-format x509
found --sha "$(sum artifact)"
entry --type hashedrekord:0.0.1 --artifact-hash "$(sum artifact)" --signature artifact.ec --public-key ec.crt --pki-format x509
key ec.crt x509

# Another hash, and a name that is a URI.
uri=https://example.com/o/r/.github/workflows/W.yml@refs/heads/main
openssl ecparam -name secp521r1 -genkey -noout -out p521.key
openssl req -x509 -new -key p521.key -subj '/O=test/CN=test' -addext "subjectAltName=URI:$uri" -out p521.crt
openssl dgst -sha512 -sign p521.key -out artifact.p521 artifact
long=$(sha512sum artifact | cut -d' ' -f1)
entry --type hashedrekord --artifact-hash "$long" --signature artifact.p521 --public-key p521.crt --pki-format x509
found --sha "$long"
found --subject "$uri"
found --operator and --subject "$uri" --sha "$long" --public-key p521.crt --pki-format x509

entry --type helm --artifact chart-0.1.0.tgz.prov --public-key pgp.pub --pki-format pgp
key pgp.pub pgp
found --artifact chart-0.1.0.tgz
entry --type jar --artifact signed.jar
found --artifact signed.jar # not by its certificate: upstream's key is the hash of the signature
entry --type alpine --artifact test.apk --public-key apk.pub
found --artifact test.apk
key apk.pub x509
entry --type rpm --artifact test.rpm --public-key pgp.pub --pki-format pgp
found --artifact test.rpm
key pgp.pub pgp
entry --type cose --artifact artifact.cose --public-key ec.pub
key ec.pub x509
found --artifact artifact
found --artifact artifact.cose
says 'Attestation: ' rekorcli get --uuid "$id"
entry --type cose --artifact artifact.aad.cose --aad YWFk --public-key ec.pub
refuses 'verification error' rekorcli upload --type cose --artifact artifact.aad.cose --aad YWFr --public-key ec.pub
entry --type rfc3161 --artifact artifact.tsr
found --artifact artifact.tsr
curl -sSf -o root.json "$MIRROR/1.root.json"
curl -sSf -o timestamp.json "$MIRROR/timestamp.json"
entry --type tuf --artifact timestamp.json --public-key root.json --pki-format tuf
key root.json tuf

entry --type dsse --artifact envelope.json --public-key ec.pub
key ec.pub x509
found --sha "$(sum artifact)"
found --sha "$(sum statement)"
# One envelope, two who have signed it.
type=application/vnd.in-toto+json
openssl ecparam -name secp384r1 -genkey -noout -out second.key
openssl pkey -in second.key -pubout -out second.pub
sed "s#}]}\$#},{\"sig\":\"$({ printf 'DSSEv1 %d %s %d ' ${#type} $type "$(stat -c %s statement)"; cat statement; } | openssl dgst -sha256 -sign second.key | openssl base64 -A)\"}]}#" envelope.json >two.json
entry --type dsse --artifact two.json --public-key ec.pub --public-key second.pub
key ec.pub x509
key second.pub x509
for v in 0.0.1 0.0.2; do
	entry --type intoto:$v --artifact envelope.json --public-key ec.pub
	key ec.pub x509
	found --sha "$(sum artifact)"
	found --sha "$(sum statement)"
	says "Attestation: $(cat statement)" rekorcli get --uuid "$id"
done

# The client fetches what is given as a URL; the log takes what it has fetched.
openssl dgst -sha256 -sign ec.key -out root.sig root.json
entry --type rekord --artifact "$MIRROR/1.root.json" --signature root.sig --public-key ec.pub --pki-format x509
found --artifact "$MIRROR/1.root.json"
found --artifact root.json

says 'Verification Successful' rekorcli loginfo
says '"TreeID"' rekorcli loginfo --format json
says 'Verification Successful' rekorcli loginfo --store_tree_state=false --timeout 10s --retry 1
size=$(sed -n 's/^Active Tree Size: *//p' "$WORK/.out")
tree=$(sed -n 's/^TreeID: *//p' "$WORK/.out")
says 'Current Root Hash' rekorcli logproof --last-size "$size"
says 'Current Root Hash' rekorcli logproof --first-size 3 --last-size "$((size - 1))" --tree-id "$tree"
refuses 'greater' rekorcli logproof --last-size "$((size + 1000))"
refuses 'tree' rekorcli logproof --last-size "$size" --tree-id 7
says "$id" rekorcli get --uuid "$id" --format json
says '"logIndex"' rekorcli get --uuid "$id" --format tle
says '"AlreadyExists":true' rekorcli upload --type dsse --artifact envelope.json --public-key ec.pub --format json
says '"EntryUUID"' rekorcli verify --type dsse --artifact envelope.json --public-key ec.pub --format json
says '"UUIDs":[' rekorcli search --artifact artifact --format json
says '"RootHash"' rekorcli logproof --last-size "$size" --format json
says 'Verification Successful' rekorcli loginfo --rekor_server "$REKOR/"
says 'Current Root Hash' rekorcli verify --uuid "$id" --rekor_server "$REKOR/"
printf 'format: json\nrekor_server: %s\n' "$REKOR" >rekor.yaml
says '"TreeID"' within "$REKORCLI" loginfo --config rekor.yaml
says '"TreeID"' env REKOR_REKOR_SERVER="$REKOR" REKOR_FORMAT=json timeout -k 5 "$LIMIT" "$REKORCLI" loginfo
says 'GitVersion' rekorcli version
`
