package trustroot

import (
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
)

// signingConfig composes a signing configuration that names one kind of Rekor log, so that no
// client has to choose: those that know both versions would all take v2, and some verifiers know
// v1 only. Services whose window has ended are left out; operator is set everywhere, since python
// requires it.
func signingConfig(m Material, logs []Log, version uint32) ([]byte, error) {
	oneOf := &pb.ServiceConfiguration{Selector: pb.ServiceSelector_ANY}
	sc := &pb.SigningConfig{MediaType: signingConfigType, RekorTlogConfig: oneOf}
	add := func(to *[]*pb.Service, url string, version uint32, valid Window) {
		if valid.open() {
			*to = append(*to, &pb.Service{Url: url, MajorApiVersion: version, ValidFor: timeRange(valid), Operator: m.Operator})
		}
	}
	for _, a := range newestFirst(m.CAs, oldestFirst) {
		add(&sc.CaUrls, a.URL, 1, a.Valid)
	}
	for _, s := range m.Issuers {
		add(&sc.OidcUrls, s.URL, 1, s.Valid)
	}
	for _, g := range newestFirst(logs, oldestLogFirst) {
		if !g.isShard() {
			add(&sc.RekorTlogUrls, g.URL, version, g.Valid)
		}
	}
	for _, a := range newestFirst(m.TSAs, oldestFirst) {
		add(&sc.TsaUrls, a.URL, 1, a.Valid)
	}
	if len(sc.TsaUrls) > 0 {
		sc.TsaConfig = oneOf
	}
	return encode(sc)
}
