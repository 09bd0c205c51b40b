package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"

	"gopkg.in/yaml.v3"
)

// Show returns the configuration as it counts: with defaults and with what sections inherit, paths
// absolute, secrets as references. [Parse] takes it.
func (c *Config) Show() string {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node(reflect.ValueOf(c).Elem())); err != nil { // our own tree into memory
		panic(err)
	}
	return b.String()
}

// node returns the YAML of a value, nil for one that is not set.
func node(v reflect.Value) *yaml.Node {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if g, ok := v.Interface().(Guard); ok && g.None {
		return text("none", "!!str")
	}
	switch v.Kind() {
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, f := range fields(v.Type()) {
			if value := node(v.FieldByIndex(f.Index)); value != nil {
				n.Content = append(n.Content, text(f.key, "!!str"), value)
			}
		}
		return n
	case reflect.Bool:
		return text(strconv.FormatBool(v.Bool()), "!!bool")
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i)))
		}
		return n
	case reflect.String:
		if v.String() == "" {
			return nil
		}
		return text(v.String(), "!!str")
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return text(s.String(), "")
	}
	return text(strconv.FormatInt(v.Int(), 10), "!!int")
}

func text(value, tag string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}
