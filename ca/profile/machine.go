package profile

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/oidc"
)

// githubNames is type github-workflow: SAN URI of the job's workflow file and ref, every build
// extension but .23. All sixteen claims are required.
func githubNames(t *oidc.Token) (names, error) {
	c, err := claims(t, "job_workflow_ref", "sha", "event_name", "repository", "workflow", "ref",
		"job_workflow_sha", "runner_environment", "repository_id", "repository_owner",
		"repository_owner_id", "repository_visibility", "workflow_ref", "workflow_sha", "run_id", "run_attempt")
	if err != nil {
		return names{}, err
	}
	u, err := joinAll("https://github.com/", map[string][]string{
		"signer": {c["job_workflow_ref"]}, "repository": {c["repository"]}, "owner": {c["repository_owner"]}, "config": {c["workflow_ref"]},
		"run": {c["repository"], "actions/runs", c["run_id"], "attempts", c["run_attempt"]},
	})
	if err != nil {
		return names{}, err
	}
	return names{uri: u["signer"], extensions: map[string]string{
		"github-workflow-trigger":                 c["event_name"],
		"github-workflow-sha":                     c["sha"],
		"github-workflow-name":                    c["workflow"],
		"github-workflow-repository":              c["repository"],
		"github-workflow-ref":                     c["ref"],
		"build-signer-uri":                        u["signer"],
		"build-signer-digest":                     c["job_workflow_sha"],
		"runner-environment":                      c["runner_environment"],
		"source-repository-uri":                   u["repository"],
		"source-repository-digest":                c["sha"],
		"source-repository-ref":                   c["ref"],
		"source-repository-identifier":            c["repository_id"],
		"source-repository-owner-uri":             u["owner"],
		"source-repository-owner-identifier":      c["repository_owner_id"],
		"build-config-uri":                        u["config"],
		"build-config-digest":                     c["workflow_sha"],
		"build-trigger":                           c["event_name"],
		"run-invocation-uri":                      u["run"],
		"source-repository-visibility-at-signing": c["repository_visibility"],
	}}, nil
}

// gitlabNames is type gitlab-pipeline: SAN URI of the pipeline's definition.
func gitlabNames(t *oidc.Token) (names, error) {
	c, err := claims(t, "project_path", "pipeline_source", "pipeline_id", "ci_config_ref_uri", "job_id", "ref",
		"ref_type", "namespace_path", "namespace_id", "project_id", "sha", "runner_environment")
	if err != nil {
		return names{}, err
	}
	for _, name := range []string{"ci_config_sha", "project_visibility"} {
		if c[name], err = optional(t, name); err != nil {
			return names{}, err
		}
	}
	if n, _ := t.Claims["runner_id"].(json.Number); strings.Trim(n.String(), "0123456789-") != "" || strings.Trim(n.String(), "0-") == "" {
		return names{}, oidc.Refuse(oidc.ReasonClaim, "claim runner_id is not an integer other than 0")
	}
	refs, ok := map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[c["ref_type"]]
	if !ok {
		return names{}, oidc.Refuse(oidc.ReasonClaim, "claim ref_type is neither branch nor tag")
	}
	definition, err := url.Parse(c["ci_config_ref_uri"])
	if err != nil || definition.Host != "" {
		return names{}, oidc.Refuse(oidc.ReasonSAN, "claim ci_config_ref_uri is not HOST/PATH")
	}
	definition.Scheme = "https"
	config := definition.String()
	u, err := joinAll("https://gitlab.com/", map[string][]string{
		"project": {c["project_path"]}, "owner": {c["namespace_path"]}, "job": {c["project_path"], "-/jobs", c["job_id"]},
	})
	if err != nil {
		return names{}, err
	}
	return names{uri: config, extensions: map[string]string{
		"build-signer-uri":                        config,
		"build-signer-digest":                     c["ci_config_sha"],
		"runner-environment":                      c["runner_environment"],
		"source-repository-uri":                   u["project"],
		"source-repository-digest":                c["sha"],
		"source-repository-ref":                   refs + c["ref"],
		"source-repository-identifier":            c["project_id"],
		"source-repository-owner-uri":             u["owner"],
		"source-repository-owner-identifier":      c["namespace_id"],
		"build-config-uri":                        config,
		"build-config-digest":                     c["ci_config_sha"],
		"build-trigger":                           c["pipeline_source"],
		"run-invocation-uri":                      u["job"],
		"source-repository-visibility-at-signing": c["project_visibility"],
	}}, nil
}

// buildkiteNames is type buildkite-job: SAN URI of the pipeline.
func buildkiteNames(t *oidc.Token) (names, error) {
	c, err := claims(t, "organization_slug", "pipeline_slug")
	if err != nil {
		return names{}, err
	}
	uri, err := normal("https://buildkite.com/"+c["organization_slug"]+"/"+c["pipeline_slug"], "https://buildkite.com/")
	return names{uri: uri}, err
}

// codefreshNames is type codefresh-workflow: SAN URI of account and pipeline, by name and by id.
func codefreshNames(t *oidc.Token) (names, error) {
	c, err := claims(t, "account_id", "account_name", "pipeline_id", "pipeline_name", "workflow_id")
	if err != nil {
		return names{}, err
	}
	for _, name := range []string{"scm_repo_url", "scm_ref", "runner_environment", "platform_url"} {
		if c[name], err = optional(t, name); err != nil {
			return names{}, err
		}
	}
	if err := shaped("token", t.Claims, "initiator", "scm_user_name", "scm_pull_request_target_branch"); err != nil {
		return names{}, err
	}
	platform := c["platform_url"]
	if platform == "" {
		platform = "https://g.codefresh.io"
	}
	u, err := joinAll(platform, map[string][]string{
		"build": {"build", c["workflow_id"]}, "config": {"api", "pipelines", c["pipeline_id"]},
		"pipeline": {c["account_name"], c["pipeline_name"] + ":" + c["account_id"] + "/" + c["pipeline_id"]},
	})
	if err != nil {
		return names{}, err
	}
	return names{uri: u["pipeline"], extensions: map[string]string{
		"build-signer-uri":      u["build"],
		"runner-environment":    c["runner_environment"],
		"source-repository-uri": c["scm_repo_url"],
		"source-repository-ref": c["scm_ref"],
		"build-config-uri":      u["config"],
		"run-invocation-uri":    u["build"],
	}}, nil
}

// joinAll makes several URLs under one base.
func joinAll(base string, paths map[string][]string) (map[string]string, error) {
	out := make(map[string]string, len(paths))
	for name, elements := range paths {
		var err error
		if out[name], err = join(base, elements...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// kubernetesNames is type kubernetes: SAN URI of namespace and service account, which a subject of
// the form system:serviceaccount:NAMESPACE:NAME must agree with.
func kubernetesNames(t *oidc.Token) (names, error) {
	k8s, _ := t.Claims["kubernetes.io"].(map[string]any)
	account, _ := k8s["serviceaccount"].(map[string]any)
	namespace, _ := k8s["namespace"].(string)
	name, _ := account["name"].(string)
	if !dnsName(namespace) || !dnsName(name) {
		return names{}, oidc.Refuse(oidc.ReasonClaim, "claim kubernetes.io names no namespace and service account")
	}
	if err := shaped("claim kubernetes.io: pod", k8s["pod"], "name", "uid"); err != nil {
		return names{}, err
	}
	if err := shaped("claim kubernetes.io: serviceaccount", account, "uid"); err != nil {
		return names{}, err
	}
	for old, now := range map[string]string{
		"kubernetes.io/serviceaccount/namespace":            namespace,
		"kubernetes.io/serviceaccount/service-account.name": name,
	} {
		if v, ok := t.Claims[old]; ok && v != now {
			return names{}, oidc.Refuse(oidc.ReasonClaim, "claims kubernetes.io and %s disagree", old)
		}
	}
	if strings.HasPrefix(t.Subject, "system:serviceaccount:") && t.Subject != "system:serviceaccount:"+namespace+":"+name {
		return names{}, oidc.Refuse(oidc.ReasonClaim, "claims kubernetes.io and sub disagree")
	}
	return names{uri: "https://kubernetes.io/namespaces/" + namespace + "/serviceaccounts/" + name}, nil
}

// dnsName says whether s is a Kubernetes object name (RFC 1123 subdomain).
func dnsName(s string) bool {
	return s != "" && len(s) <= 253 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" &&
		!strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-") && !strings.Contains(s, "..") && s[0] != '.' && s[len(s)-1] != '.'
}
