package main

import (
	"context"
	"os"
	"testing"

	"github.com/cert-manager/cert-manager/pkg/webhook/server"
	webhook "github.com/cert-manager/cert-manager/test/webhook"
)

// The chart's ports.
const (
	webhookPort = 10250
	healthPort  = 6080
)

// serveWebhook answers the API server until ctx ends. Nothing that others may import starts upstream's webhook but a helper of
// upstream's tests, which wants one around it.
func serveWebhook(ctx context.Context, args []string) {
	listen := func(server *server.Server) {
		health := healthPort
		server.ListenAddr, server.HealthzAddr = webhookPort, &health
	}
	run := func(t *testing.T) {
		_, stop := webhook.StartWebhookServer(t, args, listen)
		defer stop()
		<-ctx.Done()
	}
	os.Args = []string{os.Args[0], "-test.v"} // its log as it comes
	every := func(string, string) (bool, error) { return true, nil }
	testing.Main(every, []testing.InternalTest{{Name: "webhook", F: run}}, nil, nil)
}
