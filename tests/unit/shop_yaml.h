/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_SHOP_YAML_H
#define TESTS_UNIT_SHOP_YAML_H

/*
 * A small shop for the tests of dialects: Service app is split over the Services blue and
 * green, each with port 80 named http and two ready pods: 10.1.0.x, 10.2.0.x.
 */
#define SHOP_SERVICE(name, ip)                                                                     \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Service\n"                                                                          \
	"metadata: {name: " name ", namespace: shop}\n"                                            \
	"spec: {clusterIP: " ip ", ports: [{name: http, port: 80}]}\n"

#define SHOP_POD(name, version)                                                                    \
	"---\n"                                                                                    \
	"apiVersion: v1\n"                                                                         \
	"kind: Pod\n"                                                                              \
	"metadata: {name: " name ", namespace: shop, labels: {app: app, version: " version "}}\n"

#define SHOP_ENDPOINT(ip, pod) "- {addresses: [" ip "], targetRef: {kind: Pod, name: " pod "}}\n"

#define SHOP_SLICE(service, endpoints)                                                             \
	"---\n"                                                                                    \
	"apiVersion: discovery.k8s.io/v1\n"                                                        \
	"kind: EndpointSlice\n"                                                                    \
	"metadata: {name: " service "-1, namespace: shop,\n"                                       \
	"  labels: {kubernetes.io/service-name: " service "}}\n"                                   \
	"addressType: IPv4\n"                                                                      \
	"ports: [{name: http, port: 8080}]\n"                                                      \
	"endpoints:\n" endpoints

#define SHOP                                                                                       \
	SHOP_SERVICE("app", "10.96.0.1")                                                           \
	SHOP_SERVICE("blue", "10.96.0.2")                                                          \
	SHOP_SERVICE("green", "10.96.0.3")                                                         \
	SHOP_SLICE("blue",                                                                         \
		   SHOP_ENDPOINT("10.1.0.1", "blue-1") SHOP_ENDPOINT("10.1.0.2", "blue-2"))        \
	SHOP_SLICE("green",                                                                        \
		   SHOP_ENDPOINT("10.2.0.1", "green-1") SHOP_ENDPOINT("10.2.0.2", "green-2"))

#endif
