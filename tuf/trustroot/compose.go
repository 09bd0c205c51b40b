package trustroot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"

	"github.com/sigbox/sigbox/tuf"
)

// Names of the targets. The PEM names are those that older clients fall back to.
const (
	TrustedRootName     = "trusted_root.json"
	SigningConfigName   = "signing_config.v0.2.json"
	SigningConfigV2Name = "signing_config_rekor_v2.v0.2.json"
	FulcioName          = "fulcio.crt.pem" // intermediates, then the root
	RekorName           = "rekor.pub"
	RekorV2Name         = "rekor_v2.pub"
	CTName              = "ctfe.pub"
	TSAName             = "tsa.crt.pem" // leaf first, then up to the root
)

// Compose checks the material and returns the targets to publish: for modern clients the trusted
// root and the signing configurations, and beside them one PEM target per key or chain for those
// that look for "usage" metadata. The same material gives the same bytes.
func Compose(m Material) ([]tuf.Target, error) {
	if err := m.Lint(); err != nil {
		return nil, err
	}
	root, err := trustedRoot(m)
	if err != nil {
		return nil, err
	}
	v1, err := signingConfig(m, m.RekorV1, 1)
	if err != nil {
		return nil, err
	}
	targets := []tuf.Target{{Name: TrustedRootName, Content: root}, {Name: SigningConfigName, Content: v1}}
	if len(m.RekorV2) > 0 {
		v2, err := signingConfig(m, m.RekorV2, 2)
		if err != nil {
			return nil, err
		}
		targets = append(targets, tuf.Target{Name: SigningConfigV2Name, Content: v2})
	}
	legacy, err := legacyTargets(m)
	return append(targets, legacy...), err
}

// legacyTargets has one target for each chain, whole: a client that finds intermediate and root
// apart takes each for an authority of its own. Of timestamp authorities only the one in use is
// there, since the clients that read this refuse two leaves. The v2 key carries no usage: those
// clients cannot read a v2 log, and would take its key for one more v1 key.
func legacyTargets(m Material) ([]tuf.Target, error) {
	var out []tuf.Target
	for i, a := range inUseFirst(newestFirst(m.CAs, oldestFirst), Authority.open) {
		out = append(out, legacy(numbered(FulcioName, i, a.Chain[0].Raw), "Fulcio", a.URL, a.Valid, chainPEM(a.Chain)))
	}
	for i, a := range inUseFirst(newestFirst(m.TSAs, oldestFirst), Authority.open) {
		if i == 0 {
			out = append(out, legacy(TSAName, "TSA", a.URL, a.Valid, chainPEM(a.Chain)))
		}
	}
	for _, kind := range []struct {
		name, usage string
		logs        []Log
	}{
		{RekorName, "Rekor", newestFirst(m.RekorV1, oldestLogFirst)},
		{CTName, "CTFE", inUseFirst(newestFirst(m.CTLogs, oldestLogFirst), Log.open)},
		{RekorV2Name, "", newestFirst(m.RekorV2, oldestLogFirst)},
	} {
		for i, g := range kind.logs {
			der, err := marshalKey(g.Key)
			if err != nil {
				return nil, err
			}
			block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
			out = append(out, legacy(numbered(kind.name, i, der), kind.usage, g.URL, g.Valid, block))
		}
	}
	return out, nil
}

// inUseFirst moves the one that is in use to the front of a list, newest first, if any is: a new one is
// published without an end before it is used, and the one before it has none until then. So it is the
// oldest that has none. Clients that know one key alone are to have that one.
func inUseFirst[T any](list []T, open func(T) bool) []T {
	for i := len(list) - 1; i > 0; i-- {
		if open(list[i]) {
			used := list[i]
			copy(list[1:], list[:i])
			list[0] = used
			break
		}
	}
	return list
}

func legacy(name, usage, url string, valid Window, content []byte) tuf.Target {
	t := tuf.Target{Name: name, Content: content}
	if usage == "" {
		return t
	}
	status := "Active"
	if !valid.open() {
		status = "Expired"
	}
	custom, err := json.Marshal(map[string]any{"sigstore": map[string]string{"usage": usage, "status": status, "uri": url}})
	if err != nil {
		panic(err) // strings
	}
	t.Custom = custom
	return t
}

// numbered keeps the plain name for the first and adds the start of a digest for the others, so
// that an older one keeps its name however many follow.
func numbered(name string, i int, der []byte) string {
	if i == 0 {
		return name
	}
	sum := sha256.Sum256(der)
	return fmt.Sprintf("%s_%s", hex.EncodeToString(sum[:4]), name)
}

func chainPEM(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // to memory
	}
	return out.Bytes()
}
