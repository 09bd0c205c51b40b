package upstream

import (
	"bytes"
	"encoding/base64"
	"strings"

	rekorhelm "github.com/sigstore/rekor/pkg/types/helm"

	"github.com/sigbox/sigbox/internal/strictjson"
	"github.com/sigbox/sigbox/tlog/entry"
)

// content decodes the member of that name of an object in a spec, nil where it is missing. path names the
// object.
func content(spec map[string]any, name string, most int, path ...string) ([]byte, error) {
	o := spec
	for _, p := range path {
		o = entry.Object(o, p)
	}
	field := strings.Join(append(path, name), ".")
	b, err := entry.Bytes(o, name, field)
	if err == nil && len(b) > most {
		err = entry.Invalidf("%s is larger than %d bytes", field, most)
	}
	return b, err
}

// anySize is for what is bounded by the request only.
const anySize = 1 << 30

func checkRekord(spec map[string]any) error {
	sig := entry.Object(spec, "signature")
	format := entry.Text(sig, "format")
	mostKey := maxSmallKey
	if format == "pgp" {
		mostKey = maxPGPKey
	}
	key, err := content(spec, "content", mostKey, "signature", "publicKey")
	if err != nil {
		return err
	}
	raw, err := content(spec, "content", maxSignature, "signature")
	if err != nil || len(key) == 0 || len(raw) == 0 {
		return err // what is missing, upstream's code names
	}
	switch format {
	case "pgp":
		if err := checkPGPKey(key); err != nil {
			return err
		}
		return checkPGPSignature(raw)
	case "x509":
		_, err = entry.ParseKey(key)
		return err
	}
	return nil
}

func checkHelm(spec map[string]any) error {
	key, err := content(spec, "content", maxPGPKey, "publicKey")
	if err != nil {
		return err
	}
	prov, err := content(spec, "content", maxProvenance, "chart", "provenance")
	if err != nil {
		return err
	}
	if _, err := content(spec, "content", maxSignature, "chart", "provenance", "signature"); err != nil {
		return err
	}
	if len(key) == 0 || len(prov) == 0 {
		return nil
	}
	if err := checkPGPKey(key); err != nil {
		return err
	}
	var p rekorhelm.Provenance
	if err := p.Unmarshal(bytes.NewReader(prov)); err != nil {
		return refuse("helm", err)
	}
	if p.SumCollection == nil || len(p.SumCollection.Files) != 1 {
		return entry.Invalidf("helm: the provenance file should name exactly one chart")
	}
	return countPackets(p.Block.ArmoredSignature.Body, signaturePackets)
}

func checkCOSE(spec map[string]any) error {
	if _, err := content(spec, "message", maxCBOR); err != nil {
		return err
	}
	key, err := content(spec, "publicKey", maxSmallKey)
	if err != nil || len(key) == 0 {
		return err
	}
	_, err = entry.ParseKey(key)
	return err
}

func checkRFC3161(spec map[string]any) error {
	_, err := content(spec, "content", maxTSR, "tsr")
	return err
}

// checkTUF bounds what signature checks and their keys cost. Content is an object, or base64 of one.
func checkTUF(spec map[string]any) error {
	for _, name := range []string{"root", "metadata"} {
		o := entry.Object(spec, name)
		v, ok := o["content"]
		if s, text := v.(string); text {
			raw, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return entry.Invalidf("%s.content is not standard base64", name)
			}
			// What upstream's decoder merges of a key that is there twice is not what is counted here.
			if v, err = strictjson.ParseLoose(raw); err != nil {
				return entry.Invalidf("%s.content: %v", name, err)
			}
		}
		if !ok {
			continue
		}
		m, ok := v.(map[string]any)
		signed := entry.Object(m, "signed")
		if !ok || signed == nil {
			return entry.Invalidf("%s.content should be signed TUF metadata", name)
		}
		if err := countTUF(m, signed, name); err != nil {
			return err
		}
	}
	return nil
}

func countTUF(m, signed map[string]any, field string) error {
	sigs, _ := m["signatures"].([]any)
	most := max(len(sigs), len(entry.Object(signed, "keys")), len(entry.Object(signed, "roles")))
	for _, role := range entry.Object(signed, "roles") {
		o, _ := role.(map[string]any)
		ids, _ := o["keyids"].([]any)
		most = max(most, len(ids))
	}
	if most > maxTUF {
		return entry.Invalidf("%s.content has more than %d signatures, keys, roles or key ids of a role", field, maxTUF)
	}
	for _, key := range entry.Object(signed, "keys") {
		o, _ := key.(map[string]any)
		if len(entry.Text(entry.Object(o, "keyval"), "public")) > maxSmallKey {
			return entry.Invalidf("%s.content has a key of more than %d bytes", field, maxSmallKey)
		}
	}
	return nil
}
