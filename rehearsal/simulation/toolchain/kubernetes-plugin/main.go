// The official kubernetes plugin. Its own main embeds a copy of the schema that its build makes; ours embeds the schema
// of the module itself, which the build lays beside this file by an overlay.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema.json
var schema []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, []byte("{}"))
}
