package presets

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/oidc"
)

//go:embed data/*.yaml
var files embed.FS

// Preset is an issuer that is known by name, with what has to be said of one's own.
type Preset struct {
	Name       string      `yaml:"-"`
	Title      string      `yaml:"title"`
	About      string      `yaml:"about"` // what to know before it is trusted
	Parameters []Parameter `yaml:"parameters"`
	// Document is Fulcio's configuration with ${NAME} where parameters go.
	Document yaml.Node `yaml:"configuration"`
}

// Parameter is something that differs from site to site.
type Parameter struct {
	Name     string `yaml:"name"` // url, id, trust_domain or audience
	About    string `yaml:"about"`
	Default  string `yaml:"default"`
	Required bool   `yaml:"required"`
	Slash    bool   `yaml:"slash"` // a url may end with one
}

// Certificates is the parameter that every preset has beside its own: PEM roots for the TLS of the
// issuer, beside the system's.
const Certificates = "certificates"

// All returns every preset, by name. The error is a mistake in the files that the program is made with.
func All() ([]Preset, error) {
	entries, err := fs.ReadDir(files, "data")
	if err != nil {
		return nil, fmt.Errorf("presets: %w", err)
	}
	list := make([]Preset, 0, len(entries))
	for _, e := range entries {
		p, err := Find(strings.TrimSuffix(e.Name(), ".yaml"))
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Preset) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

var name = regexp.MustCompile(`\A[a-z]+(-[a-z]+)*\z`)

// Find returns a preset.
func Find(preset string) (Preset, error) {
	if !name.MatchString(preset) {
		return Preset{}, fmt.Errorf("there is no preset %q", preset)
	}
	raw, err := files.ReadFile(path.Join("data", preset+".yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return Preset{}, fmt.Errorf("there is no preset %q", preset)
	}
	p := Preset{Name: preset}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err == nil {
		err = dec.Decode(&p)
	}
	if err != nil {
		return Preset{}, fmt.Errorf("preset %s: %w", preset, err)
	}
	return p, nil
}

// ParameterError says which parameter of a preset is wrong, and how.
type ParameterError struct{ Parameter, Text string }

func (e *ParameterError) Error() string { return e.Parameter + " " + e.Text }

// Check says what is wrong with the values of a preset's parameters, by name; an empty one is one that
// is not given. All that is wrong is reported, in the order of the parameters.
func (p Preset) Check(values map[string]string) (wrong []*ParameterError) {
	known := map[string]bool{Certificates: true}
	for _, par := range p.Parameters {
		known[par.Name] = true
		switch v := values[par.Name]; {
		case v == "" && par.Required:
			wrong = append(wrong, &ParameterError{par.Name, fmt.Sprintf("is missing: preset %s needs %s", p.Name, par.About)})
		case v != "":
			err := forms[par.Name](v)
			if err == nil && par.Name == "url" && !par.Slash && strings.HasSuffix(v, "/") {
				err = fmt.Errorf("%q ends with a slash: leave it out", v)
			}
			if err != nil {
				wrong = append(wrong, &ParameterError{par.Name, err.Error()})
			}
		}
	}
	for _, given := range slices.Sorted(maps.Keys(values)) {
		if values[given] != "" && !known[given] {
			wrong = append(wrong, &ParameterError{given, fmt.Sprintf("is for nothing: preset %s takes %s", p.Name, p.takes())})
		}
	}
	return wrong
}

func (p Preset) takes() string {
	names := make([]string, 0, len(p.Parameters)+1)
	for _, par := range p.Parameters {
		names = append(names, par.Name)
	}
	return strings.Join(append(names, Certificates), ", ")
}

// Configuration returns Fulcio's config.yaml of a preset with its parameters. The error is a
// *[ParameterError], several joined.
func (p Preset) Configuration(values map[string]string) ([]byte, error) {
	if wrong := p.Check(values); len(wrong) > 0 {
		errs := make([]error, len(wrong))
		for i, w := range wrong {
			errs[i] = w
		}
		return nil, errors.Join(errs...)
	}
	given := map[string]string{}
	for _, par := range p.Parameters {
		if given[par.Name] = values[par.Name]; given[par.Name] == "" {
			given[par.Name] = par.Default
		}
	}
	if u, err := url.Parse(given["url"]); err == nil && u.Host != "" {
		given["origin"] = u.Scheme + "://" + u.Host
	}
	doc := clone(&p.Document)
	fill(doc, given)
	if pem := values[Certificates]; pem != "" {
		trust(doc, pem)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("preset %s: %w", p.Name, err)
	}
	return out.Bytes(), enc.Close()
}

func clone(n *yaml.Node) *yaml.Node {
	c := *n
	c.Style &^= yaml.FlowStyle
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = clone(child)
	}
	return &c
}

// fill puts values where they go: into text that is parsed already.
func fill(n *yaml.Node, values map[string]string) {
	if n.Kind == yaml.ScalarNode {
		for name, v := range values {
			n.Value = strings.ReplaceAll(n.Value, "${"+name+"}", v)
		}
	}
	for _, child := range n.Content {
		fill(child, values)
	}
}

// trust adds ca-cert to every issuer.
func trust(doc *yaml.Node, pem string) {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value != "oidc-issuers" {
			continue
		}
		for j := 1; j < len(doc.Content[i+1].Content); j += 2 {
			issuer := doc.Content[i+1].Content[j]
			issuer.Content = append(issuer.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "ca-cert"},
				&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: pem, Style: yaml.LiteralStyle})
		}
	}
}

// The forms of parameters. None lets a letter through that means something in YAML, in a template or in
// the placeholders of a preset.
var (
	urlForm      = regexp.MustCompile(`\Ahttps?://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?\z`)
	idForm       = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z`)
	audienceForm = regexp.MustCompile(`\A[A-Za-z0-9._~:/@+=-]{1,255}\z`)

	forms = map[string]func(string) error{
		"url": func(v string) error {
			if !urlForm.MatchString(v) || strings.Contains(v+"/", "/./") || strings.Contains(v+"/", "/../") {
				return fmt.Errorf("%q is not an address: want one such as https://ci.example.com, host in small letters", v)
			}
			return nil
		},
		"id": func(v string) error {
			if !idForm.MatchString(v) {
				return fmt.Errorf("%q is not an ID: want letters, digits and . _ -", v)
			}
			return nil
		},
		"audience": func(v string) error {
			if !audienceForm.MatchString(v) {
				return fmt.Errorf("%q is not an audience: want letters, digits and . _ ~ : / @ + = -", v)
			}
			return nil
		},
		"trust_domain": func(v string) error {
			if !oidc.ValidTrustDomain(v) {
				return fmt.Errorf("%q is not a trust domain: want a name such as example.com", v)
			}
			return nil
		},
	}
)
