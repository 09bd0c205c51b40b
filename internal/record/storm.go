package record

// Storm is one storm: verifications beside each other, by processes of one client.
type Storm struct {
	Client        string  `json:"client"`
	Version       string  `json:"version"`
	What          string  `json:"what"` // where its trust comes from
	Down          bool    `json:"down"` // nobody answers: neither the log nor the mirror
	Verifications int     `json:"verifications"`
	Processes     int     `json:"processes"`
	AtOnce        int     `json:"at_once"` // processes
	Seconds       float64 `json:"seconds"`
	Passed        int     `json:"passed"` // verifications that admitted
	Mirror        int     `json:"requests_to_mirror"`
	Logs          int     `json:"requests_to_logs"`     // and to authorities
	Registry      int     `json:"requests_to_registry"` // for signatures; 0 where they were not counted
}
