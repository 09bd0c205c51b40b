package config

import (
	"fmt"
	"reflect"
)

// KeyFiles are the files of private keys that the configuration names, by their keys in it.
func (c *Config) KeyFiles() map[string]KeyFile {
	files := map[string]KeyFile{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return
			}
			v = v.Elem()
		}
		if file, ok := v.Interface().(KeyFile); ok {
			if file != "" {
				files[path] = file
			}
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for _, f := range fields(v.Type()) {
				walk(v.FieldByIndex(f.Index), join(path, f.key))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	}
	walk(reflect.ValueOf(c), "")
	return files
}
