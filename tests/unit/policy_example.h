/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_POLICY_EXAMPLE_H
#define TESTS_UNIT_POLICY_EXAMPLE_H

/*
 * One policy with every part, as a manifest and as the agent's answer has it: what the agent's
 * test makes of the manifest, the command line's test shows.
 */
#define POLICY_YAML                                                                                \
	"---\n"                                                                                    \
	"apiVersion: shunt.io/v1alpha1\n"                                                          \
	"kind: TrafficPolicy\n"                                                                    \
	"metadata: {name: p, namespace: shop}\n"                                                   \
	"spec:\n"                                                                                  \
	"  targetRefs: [{kind: Service, name: app}]\n"                                             \
	"  signals: http\n"                                                                        \
	"  rateLimits:\n"                                                                          \
	"  - {average: 100, burst: 50}\n"                                                          \
	"  - {unit: requests, scope: client, clientPrefix: {ipv6: 64}, average: 6, period: 1m}\n"  \
	"  - {unit: bytes, variant: green, average: 1000000}\n"                                    \
	"  inFlight: [{scope: backend, max: 20, variant: green}]\n"                                \
	"  sources: {allow: [10.0.0.0/8, '::/0'], deny: [10.9.0.0/16]}\n"                          \
	"  circuitBreaker: {expression: NetworkErrorRatio() > 0.3, fallback: blue}\n"              \
	"  outlierDetection: {}\n"                                                                 \
	"  deadMan: {canary: green, stable: blue}\n"                                               \
	"  maxConnectionAge: 1h30m\n"

#define POLICY_SOURCE                                                                              \
	"\"source\":{\"kind\":\"TrafficPolicy\",\"namespace\":\"shop\",\"name\":\"p\","            \
	"\"file\":\"t.yaml\",\"line\":42}"

/* The ids, which the tests replace. Nothing of it is enforced. */
#define POLICY_JSON                                                                                \
	"{\"signals\":{\"mode\":\"http\"," POLICY_SOURCE "},"                                      \
	"\"rate_limits\":["                                                                        \
	"{\"average\":100,\"period_ms\":1000,\"burst\":50,\"answer\":\"reject\","                  \
	"\"unit\":\"connections\",\"scope\":\"service\",\"variant\":\"\"," POLICY_SOURCE "},"      \
	"{\"average\":6,\"period_ms\":60000,\"burst\":1,\"answer\":\"429\","                       \
	"\"unit\":\"requests\",\"scope\":\"client\",\"variant\":\"\","                             \
	"\"client_prefix\":{\"ipv4\":32,\"ipv6\":64}," POLICY_SOURCE "},"                          \
	"{\"average\":1000000,\"period_ms\":1000,\"burst\":1,\"answer\":\"drop\","                 \
	"\"unit\":\"bytes\",\"scope\":\"variant\",\"variant\":\"green\"," POLICY_SOURCE "}],"      \
	"\"in_flight\":[{\"max\":20,\"answer\":\"reject\",\"unit\":\"connections\","               \
	"\"scope\":\"backend\",\"variant\":\"green\"," POLICY_SOURCE "}],"                         \
	"\"sources\":{\"allow\":[\"10.0.0.0/8\",\"::/0\"],\"deny\":[\"10.9.0.0/16\"]"              \
	"," POLICY_SOURCE "},"                                                                     \
	"\"load_balancer_sources\":[],"                                                            \
	"\"circuit_breaker\":{\"expression\":\"NetworkErrorRatio() > 0.3\",\"check_ms\":100,"      \
	"\"fallback_ms\":10000,\"recovery_ms\":10000,\"response_code\":503,\"min_requests\":20,"   \
	"\"scope\":\"service\",\"fallback\":\"blue\"," POLICY_SOURCE "},"                          \
	"\"outlier_detection\":{\"consecutive_5xx_errors\":5,\"consecutive_gateway_errors\":0,"    \
	"\"interval_ms\":10000,\"base_ejection_ms\":30000,\"max_ejection_percent\":10,"            \
	"\"min_health_percent\":0," POLICY_SOURCE "},"                                             \
	"\"dead_man\":{\"canary\":\"green\",\"stable\":\"blue\",\"margin_basis_points\":500,"      \
	"\"min_samples\":100,\"window_ms\":10000," POLICY_SOURCE "},"                              \
	"\"connection_age\":{\"max_ms\":5400000," POLICY_SOURCE "}}"

#endif
