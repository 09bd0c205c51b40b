package standin

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

//go:embed postgres.sh
var postgresEntry string

// Image is a stand-in.
type Image struct {
	Tag     string // as our files have it
	Differs string // from the original, in what could matter to a test

	changes  []string // Dockerfile instructions
	contents func(context.Context, *Maker, tree) error
}

// Images are all that the repository's files name.
var Images = []Image{
	{
		Tag: "golang:1.26-bookworm", Differs: "this machine's Go toolchain; modules come from this machine's cache, and there is no C compiler",
		changes: []string{
			"ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin", "ENV GOPATH=/go", "ENV GOTOOLCHAIN=local", "WORKDIR /go",
			// These are not in the original: they let the container file work with no network.
			"ENV GOPROXY=file:///standin/modules", "ENV GOSUMDB=off", "ENV GOCACHE=/standin/cache",
		},
		contents: golang,
	},
	{
		Tag: "postgres:17-bookworm", Differs: "Debian 12's PostgreSQL 15; an entry point of our own",
		changes: []string{
			"ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin", "ENV LANG=C.UTF-8", "ENV PGDATA=/var/lib/postgresql/data",
			"VOLUME /var/lib/postgresql/data", "EXPOSE 5432", "STOPSIGNAL SIGINT",
			`ENTRYPOINT ["docker-entrypoint.sh"]`, `CMD ["postgres"]`,
		},
		contents: postgres,
	},
	{
		Tag: "registry:2", Differs: "Debian 12's docker-registry",
		changes: []string{
			"ENV PATH=/usr/local/bin:/usr/bin:/bin", "VOLUME /var/lib/registry", "EXPOSE 5000",
			`ENTRYPOINT ["registry", "serve"]`, `CMD ["/etc/docker/registry/config.yml"]`,
		},
		contents: registry,
	},
	{
		Tag: "haproxy:2.8", Differs: "Debian 12's HAProxy 2.6; the command is HAProxy itself, with no script before it",
		changes: []string{
			"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin", "USER haproxy", "WORKDIR /var/lib/haproxy", "STOPSIGNAL SIGUSR1",
			`ENTRYPOINT ["haproxy"]`, `CMD ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]`,
		},
		contents: haproxy,
	},
}

func golang(ctx context.Context, m *Maker, t tree) error {
	goroot, err := m.goCommand(ctx, nil, "env", "GOROOT")
	if err != nil {
		return err
	}
	if err := t.copy(goroot, "/usr/local/go", "test", "doc", "api", "misc"); err != nil {
		return err
	}
	modules, cache, err := m.warm(ctx)
	if err != nil {
		return err
	}
	if err := t.copy(modules, "/standin/modules"); err != nil {
		return err
	}
	if err := t.copy(cache, "/standin/cache"); err != nil {
		return err
	}
	t.dir("/go", 0, 0o777)
	return t.copy("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-certificates.crt")
}

func postgres(ctx context.Context, _ *Maker, t tree) error {
	servers, err := filepath.Glob("/usr/lib/postgresql/15/bin/postgres")
	if err != nil || len(servers) == 0 {
		return errors.Join(errors.New("no PostgreSQL 15: install Debian's postgresql"), err)
	}
	var programs []string
	for _, name := range []string{"postgres", "initdb", "pg_ctl", "pg_isready", "psql"} {
		programs = append(programs, "/usr/lib/postgresql/15/bin/"+name)
	}
	if err := t.programs(ctx, programs...); err != nil {
		return err
	}
	for _, dir := range []string{"/usr/lib/postgresql/15/lib", "/usr/share/postgresql/15", "/usr/share/zoneinfo", "/usr/lib/locale/C.utf8"} {
		if err := t.copy(dir, dir, "bitcode"); err != nil {
			return err
		}
	}
	t.user("postgres", 999, "/var/lib/postgresql")
	t.dir("/var/lib/postgresql/data", 999, 0o1777)
	t.dir("/run/postgresql", 999, 0o3777)
	t.dir("/docker-entrypoint-initdb.d", 0, 0o755)
	t.file("/usr/local/bin/docker-entrypoint.sh", postgresEntry, 0o755)
	return nil
}

func registry(ctx context.Context, _ *Maker, t tree) error {
	if err := t.programs(ctx, "/usr/bin/docker-registry"); err != nil {
		return err
	}
	t.link("/usr/bin/registry", "docker-registry")
	t.dir("/var/lib/registry", 0, 0o755)
	t.file("/etc/docker/registry/config.yml", `version: 0.1
log: {fields: {service: registry}}
storage: {cache: {blobdescriptor: inmemory}, filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000", headers: {X-Content-Type-Options: [nosniff]}}
health: {storagedriver: {enabled: true, interval: 10s, threshold: 3}}
`, 0o644)
	return nil
}

func haproxy(ctx context.Context, _ *Maker, t tree) error {
	if err := t.programs(ctx, "/usr/sbin/haproxy"); err != nil {
		return err
	}
	t.user("haproxy", 99, "/var/lib/haproxy")
	t.dir("/usr/local/etc/haproxy", 0, 0o755)
	return nil
}

func (t tree) user(name string, id int, home string) {
	for path, line := range map[string]string{
		"/etc/passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/sh\n", name, id, id, home),
		"/etc/group":  fmt.Sprintf("%s:x:%d:\n", name, id),
	} {
		t.file(path, t[strings.TrimPrefix(path, "/")].body+line, 0o644)
	}
	t.dir(home, id, 0o755)
}
