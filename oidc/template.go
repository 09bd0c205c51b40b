package oidc

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
)

// maxTemplateBytes bounds a template's source; maxRendered bounds what it makes.
const (
	maxTemplateBytes = 4 << 10
	maxRendered      = 4 << 10
)

// Template is one value of extension-templates: the name of a claim, or a Go text/template over
// claims and defaults. Of the template language only what configurations use is admitted: fields,
// index with a literal name, if and else over eq, ne, and, or, not. So a template can neither loop,
// nor format, nor call anything, and what a claim holds is never parsed again.
type Template struct {
	source string
	claim  string             // set for a plain claim name
	tmpl   *template.Template // set for a template
	names  []string           // every name that it may look up
}

// ParseTemplate compiles one template.
func ParseTemplate(source string) (*Template, error) {
	if len(source) > maxTemplateBytes {
		return nil, fmt.Errorf("template is longer than %d bytes", maxTemplateBytes)
	}
	t := &Template{source: source}
	if !strings.Contains(source, "{{") {
		t.claim, t.names = source, []string{source}
		return t, nil
	}
	parsed, err := template.New("template").Option("missingkey=error").Parse(source)
	if err != nil {
		return nil, err
	}
	if parsed.Tree == nil || len(parsed.Templates()) != 1 {
		return nil, errors.New("template is empty or defines further templates")
	}
	if err := t.admit(parsed.Root); err != nil {
		return nil, err
	}
	t.tmpl = parsed
	return t, nil
}

// admit walks the syntax tree, refuses what is not on the list and collects the names used.
func (t *Template) admit(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Nodes {
			if err := t.admit(c); err != nil {
				return err
			}
		}
		return nil
	case *parse.TextNode, *parse.CommentNode, *parse.StringNode, *parse.BoolNode:
		return nil
	case *parse.ActionNode:
		return t.admit(n.Pipe)
	case *parse.IfNode:
		if err := t.admit(n.Pipe); err != nil {
			return err
		}
		if err := t.admit(n.List); err != nil {
			return err
		}
		return t.admit(n.ElseList)
	case *parse.PipeNode:
		if len(n.Decl) != 0 || len(n.Cmds) != 1 {
			return errors.New("template uses a variable or a pipeline")
		}
		return t.admitCommand(n.Cmds[0])
	case *parse.FieldNode:
		if len(n.Ident) != 1 {
			return fmt.Errorf("template reads %s: claims are flat, want .name", n)
		}
		t.names = append(t.names, n.Ident[0])
		return nil
	}
	return fmt.Errorf("template uses %q: only fields, index, if, eq, ne, and, or, not are admitted", clip(n.String()))
}

func (t *Template) admitCommand(c *parse.CommandNode) error {
	id, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok {
		if len(c.Args) != 1 {
			return fmt.Errorf("template calls %q", clip(c.String()))
		}
		return t.admit(c.Args[0])
	}
	switch id.Ident {
	case "index":
		if len(c.Args) == 3 {
			_, dot := c.Args[1].(*parse.DotNode)
			if name, lit := c.Args[2].(*parse.StringNode); dot && lit {
				t.names = append(t.names, name.Text)
				return nil
			}
		}
		return errors.New(`template uses index other than as (index . "name")`)
	case "eq", "ne", "and", "or", "not":
		for _, a := range c.Args[1:] {
			if err := t.admit(a); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("template calls %s: only index, eq, ne, and, or, not are admitted", clip(id.Ident))
}

// Source returns the template as it was written.
func (t *Template) Source() string { return t.source }

// Names returns the claims and defaults that the template may look up, in order, with repeats.
func (t *Template) Names() []string { return t.names }

// Render fills the template. A name that is missing is an error, except under index, which then
// yields the empty string (as text/template does).
func (t *Template) Render(data map[string]string) (string, error) {
	if t.tmpl == nil {
		v, ok := data[t.claim]
		if !ok {
			return "", fmt.Errorf("no claim and no default named %q", clip(t.claim))
		}
		return v, nil
	}
	var b bounded
	if err := t.tmpl.Execute(&b, data); err != nil {
		return "", err
	}
	return b.buf.String(), nil
}

// Prefix returns the text that the template begins with whatever the token's claims are: literal
// text, and names that fixed has and claims cannot change.
func (t *Template) Prefix(fixed map[string]string) string {
	if t.tmpl == nil {
		return ""
	}
	var b strings.Builder
	for _, n := range t.tmpl.Root.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			b.Write(n.Text)
			continue
		case *parse.CommentNode:
			continue
		case *parse.ActionNode:
			if name := soleName(n.Pipe); name != "" {
				if v, ok := fixed[name]; ok {
					b.WriteString(v)
					continue
				}
			}
		}
		break
	}
	return b.String()
}

// soleName returns the name that an action prints, "" if it does more than print one field.
func soleName(p *parse.PipeNode) string {
	if len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 {
		if f, ok := p.Cmds[0].Args[0].(*parse.FieldNode); ok && len(f.Ident) == 1 {
			return f.Ident[0]
		}
	}
	return ""
}

// bounded is a buffer that refuses to grow beyond maxRendered.
type bounded struct{ buf strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > maxRendered {
		return 0, fmt.Errorf("result is longer than %d bytes", maxRendered)
	}
	return b.buf.Write(p)
}
