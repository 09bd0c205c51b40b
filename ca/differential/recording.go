package differential

import (
	"embed"

	"github.com/sigbox/sigbox/tlog/differential"
)

//go:embed testdata
var recordings embed.FS

// Recorded returns what the released Fulcio has answered to Requests.
func Recorded() (*differential.Recording, error) {
	raw, err := recordings.ReadFile("testdata/fulcio.json")
	if err != nil {
		return nil, err
	}
	return differential.Decode(raw)
}
