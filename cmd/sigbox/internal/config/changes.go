package config

import (
	"fmt"
	"reflect"
)

// Changes lists the keys whose values differ between two configurations: those that a running serve
// takes over, and those that count from its next start.
func Changes(a, b *Config) (live, restart []string) {
	changes(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), "", false, func(key string, isLive bool) {
		if isLive {
			live = append(live, key)
		} else {
			restart = append(restart, key)
		}
	})
	return live, restart
}

// changes compares two values of one type. A section that one of them lacks is one change.
func changes(a, b reflect.Value, path string, live bool, found func(key string, live bool)) {
	if a.Kind() == reflect.Pointer {
		if a.IsNil() != b.IsNil() {
			found(path, live)
			return
		}
		if a.IsNil() {
			return
		}
		a, b = a.Elem(), b.Elem()
	}
	switch {
	case a.Kind() == reflect.Struct:
		if g, ok := a.Interface().(Guard); ok && g.None != b.Interface().(Guard).None {
			found(path, live)
			return
		}
		for _, f := range fields(a.Type()) {
			changes(a.FieldByIndex(f.Index), b.FieldByIndex(f.Index), join(path, f.key), live || f.live(), found)
		}
	case a.Kind() == reflect.Slice && a.Len() == b.Len() && !live:
		for i := range a.Len() {
			changes(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i), live, found)
		}
	case !reflect.DeepEqual(a.Interface(), b.Interface()):
		found(path, live)
	}
}

// LiveFiles lists the files that live keys name.
func (c *Config) LiveFiles() (paths []string) {
	var walk func(v reflect.Value, live bool)
	walk = func(v reflect.Value, live bool) {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return
			}
			v = v.Elem()
		}
		switch value := v.Interface().(type) {
		case File:
			if live && value != "" {
				paths = append(paths, string(value))
			}
			return
		case KeyFile:
			if path, err := value.Path(); live && err == nil {
				paths = append(paths, path)
			}
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for _, f := range fields(v.Type()) {
				walk(v.FieldByIndex(f.Index), live || f.live())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), live)
			}
		}
	}
	walk(reflect.ValueOf(c), false)
	return paths
}
