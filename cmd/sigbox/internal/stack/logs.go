package stack

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord2"
)

// The logs of an instance. A log's name is also its name in the database.
const (
	logRekorV1 = "rekor-v1"
	logRekorV2 = "rekor-v2"
	logCT      = "ct"
)

// instancePoll is how often the logs of an instance look whether another process, "sigbox log rotate",
// has frozen them.
const instancePoll = time.Second

// maxV2Entry is what a C2SP entry bundle can hold, in bytes.
const maxV2Entry = 1<<16 - 1

// instanceServed are the logs of an instance as those of a configuration file are: Rekor v1, Rekor v2, CT.
func instanceServed(info instance.Info, m *material) (list []ServedLog, err error) {
	configs, err := logConfigs(info, m)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{logRekorV1, logRekorV2, logCT} {
		cfg := configs[name]
		l := ServedLog{Config: cfg, Signer: m.keys[name]} // roles of logs are named as they are
		l.LogSpec = config.LogSpec{Name: config.Name(name), Face: name, Origin: cfg.Signer.Verifier().Origin(), Host: config.Host(info.Host), Active: true}
		if name == logRekorV1 {
			l.TreeID = info.TreeID
		}
		list = append(list, l)
	}
	for _, k := range m.cts {
		if k.n == 1 { // it is there
			continue
		}
		l, err := instanceCT(info, k)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

// instanceCT is a CT log that came after the first one, with a key, an origin and an address of its own.
func instanceCT(info instance.Info, k ctKey) (l ServedLog, err error) {
	origin := info.Host + "/" + k.name()
	l = ServedLog{Signer: k.key}
	l.LogSpec = config.LogSpec{Name: config.Name(k.name()), Face: config.FaceCT, Origin: origin, Host: config.Host(info.Host), Path: k.path(), Active: true}
	l.Config = tlog.Config{Name: k.name(), Face: config.FaceCT, LeafInput: certificate.LeafInput, Poll: instancePoll}
	l.Config.Signer, err = checkpoint.NewSigner(origin, origin, k.key)
	return l, err
}

// logConfigs returns the engine configuration of each log, without guard, metrics and logger.
// The origins' forms tell clients what a log is: see docs/design/0001.
func logConfigs(info instance.Info, m *material) (map[string]tlog.Config, error) {
	out := map[string]tlog.Config{}
	for _, l := range []struct {
		name, role, origin string
		config             tlog.Config
	}{
		{logRekorV1, roleRekorV1, fmt.Sprintf("%s - %d", info.Host, info.TreeID), tlog.Config{LeafInput: entry.LeafInput}},
		{logRekorV2, roleRekorV2, info.Host, tlog.Config{MaxEntry: maxV2Entry, SayFrozen: true}},
		{logCT, roleCT, info.Host + "/ct", tlog.Config{LeafInput: certificate.LeafInput}},
	} {
		name := l.origin
		if l.name == logRekorV1 {
			name = info.Host
		}
		signer, err := checkpoint.NewSigner(name, l.origin, m.keys[l.role])
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", l.name, err)
		}
		l.config.Name, l.config.Face, l.config.Signer, l.config.Poll = l.name, l.name, signer, instancePoll
		out[l.name] = l.config
	}
	return out, nil
}

// seeds returns the first entries of each log. Each Rekor log begins with two of its own, so that
// no user entry has index 0 or an empty proof, which protobuf JSON leaves out and sigstore-python
// then misses; the CT log begins with the CA's own chain.
func seeds(m *material) (map[string][]tlog.Entry, error) {
	out := map[string][]tlog.Entry{}
	var err error
	if out[logRekorV1], err = seedEntries(m.keys[roleRekorV1], seedV1); err != nil {
		return nil, fmt.Errorf("seed log %s: %w", logRekorV1, err)
	}
	if out[logRekorV2], err = seedEntries(m.keys[roleRekorV2], seedV2); err != nil {
		return nil, fmt.Errorf("seed log %s: %w", logRekorV2, err)
	}
	ct, err := ctlog.Seeds(m.caChain)
	if err != nil {
		return nil, fmt.Errorf("seed log %s: %w", logCT, err)
	}
	out[logCT] = ct
	return out, nil
}

// seedEntries makes the two first entries of a Rekor log.
func seedEntries(key crypto.Signer, seed func(crypto.Signer, []byte) (tlog.Entry, error)) (entries []tlog.Entry, err error) {
	for i := range 2 {
		e, err := seed(key, fmt.Appendf(nil, "sigbox: first entries of this log, %d of 2", i+1))
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func seedV1(key crypto.Signer, text []byte) (tlog.Entry, error) {
	digest, sig, err := sign(key, text)
	if err != nil {
		return nil, err
	}
	pub, err := keys.PublicPEM(key.Public())
	if err != nil {
		return nil, err
	}
	return hashedrekord.Parse(map[string]any{
		"data": map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%x", digest)}},
		"signature": map[string]any{
			"content":   base64Of(sig),
			"publicKey": map[string]any{"content": base64Of(pub)},
		},
	})
}

func seedV2(key crypto.Signer, text []byte) (tlog.Entry, error) {
	digest, sig, err := sign(key, text)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return hashedrekord2.Parse(&rekorpb.HashedRekordRequestV002{
		Digest: digest,
		Signature: &rekorpb.Signature{Content: sig, Verifier: &rekorpb.Verifier{
			Verifier:   &rekorpb.Verifier_PublicKey{PublicKey: &rekorpb.PublicKey{RawBytes: der}},
			KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		}},
	})
}

func sign(key crypto.Signer, text []byte) (digest, sig []byte, err error) {
	sum := sha256.Sum256(text)
	if sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	return sum[:], sig, nil
}

// createLogs makes the three logs with their seeds.
func createLogs(ctx context.Context, db *databases, info instance.Info, m *material, complete func(tlog.Config) tlog.Config) error {
	configs, err := logConfigs(info, m)
	if err != nil {
		return err
	}
	entries, err := seeds(m)
	if err != nil {
		return err
	}
	for name, cfg := range configs {
		store, err := db.store(ctx, name)
		if err != nil {
			return err
		}
		err = tlog.Create(ctx, store, complete(cfg), entries[name])
		if errors.Is(err, tlog.ErrExists) {
			return fmt.Errorf("%w: another instance keeps its logs in this database: name another database", err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
