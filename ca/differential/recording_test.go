package differential

import (
	"net/http/httptest"
	"reflect"
	"testing"
)

// TestRecorded: what is kept of upstream's answers is what would be kept of them today. Only `make proof`, which
// asks upstream again, notices otherwise.
func TestRecorded(t *testing.T) {
	kept, err := Recorded()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Recorded()
	if err != nil {
		t.Fatal(err)
	}
	p := &Player{Issuer: &Issuer{Server: &httptest.Server{URL: "http://127.0.0.1:1"}}}
	for i, a := range again.Answers {
		if got := p.names(a.Body); !reflect.DeepEqual(got, kept.Answers[i].Body) {
			t.Errorf("%s: would be %v: record it again (docs/design/0016-differences.md)", a.Name, got)
		}
	}
}
