// SPDX-License-Identifier: Apache-2.0

// Judges a CustomResourceDefinition, and a table of specs, by the code with which the API server
// does: is the schema structural, do its CEL rules compile within their cost, and is each spec
// refused by whom its case says (tests/unit/policy_cases.yaml explains the table)? Unknown fields
// count as refused, as under kubectl's strict validation.
//
// Usage: crdtest CRD.yaml CASES.yaml. Exit status: 0 all agree, 1 something differs, 2 cannot read.
package main

import (
	"context"
	"fmt"
	"os"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "crdtest:", err)
		os.Exit(2)
	}
}

// judge is the schema of the CRD's first version, in the forms that its parts need.
type judge struct {
	structural *schema.Structural
	plain      validation.SchemaValidator
	rules      *cel.Validator
}

// read returns the judge and how much is wrong with the CRD itself.
func read(path string) (*judge, int) {
	var crd v1.CustomResourceDefinition
	var internal apiext.CustomResourceDefinition
	var props apiext.JSONSchemaProps

	text, err := os.ReadFile(path)
	must(err)
	must(yaml.UnmarshalStrict(text, &crd))
	v1.SetDefaults_CustomResourceDefinition(&crd)
	v1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	must(v1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(
		&crd, &internal, nil))
	internal.Status.StoredVersions = []string{crd.Spec.Versions[0].Name}
	wrong := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal)
	for _, e := range wrong {
		fmt.Println("crd:", e)
	}

	must(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema, &props, nil))
	j := &judge{}
	j.structural, err = schema.NewStructural(&props)
	must(err)
	j.plain, _, err = validation.NewSchemaValidator(&props)
	must(err)
	j.rules = cel.NewValidator(j.structural, true, celconfig.PerCallLimit)
	return j, len(wrong)
}

// refuses says by what the object is refused, "schema" or "rule", and how; "": it is taken.
func (j *judge) refuses(object map[string]interface{}) (by, what string) {
	unknown := pruning.PruneWithOptions(object, j.structural, true,
		schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return "schema", fmt.Sprint("unknown: ", unknown)
	}
	defaulting.Default(object, j.structural)
	if found := validation.ValidateCustomResource(nil, object, j.plain); len(found) > 0 {
		return "schema", found.ToAggregate().Error()
	}
	// Unique keys of lists, which plain OpenAPI knows nothing of.
	if found := listtype.ValidateListSetsAndMaps(nil, j.structural, object); len(found) > 0 {
		return "rule", found.ToAggregate().Error()
	}
	found, _ := j.rules.Validate(context.Background(), nil, j.structural, object, nil,
		celconfig.RuntimeCELCostBudget)
	if len(found) > 0 {
		return "rule", found.ToAggregate().Error()
	}
	return "", ""
}

// wanted says by what a case is to be refused.
func wanted(test map[string]interface{}) string {
	by, ok := test["by"].(string)
	switch {
	case test["refused"] == nil || by == "code":
		return ""
	case !ok:
		return "schema"
	}
	return by
}

func main() {
	var cases []map[string]interface{}

	if len(os.Args) != 3 {
		must(fmt.Errorf("usage: crdtest CRD.yaml CASES.yaml"))
	}
	j, wrong := read(os.Args[1])
	text, err := os.ReadFile(os.Args[2])
	must(err)
	must(yaml.Unmarshal(text, &cases))
	differ := 0
	for _, test := range cases {
		spec := test["spec"].(map[string]interface{})
		if _, ok := spec["targetRefs"]; !ok {
			spec["targetRefs"] = []interface{}{
				map[string]interface{}{"kind": "Service", "name": "app"}}
		}
		by, what := j.refuses(map[string]interface{}{
			"apiVersion": "shunt.io/v1alpha1", "kind": "TrafficPolicy",
			"metadata": map[string]interface{}{"name": "p"}, "spec": spec})
		if want := wanted(test); by != want {
			differ++
			fmt.Printf("%v: to be refused by %q, is by %q %s\n", test["is"], want, by, what)
		}
	}
	fmt.Printf("%d cases, %d differ; %d errors in the CRD\n", len(cases), differ, wrong)
	if differ+wrong > 0 {
		os.Exit(1)
	}
}
