// The programs of cert-manager by their names, the controller for self-signed and CA issuers alone. Upstream's mains are modules
// of their own, which the module proxy does not serve.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// The defaults of upstream's command line.
const (
	workers      = 5
	qps          = 20
	burst        = 50
	firstRetry   = time.Hour
	longestRetry = 32 * time.Hour
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func start(ctx context.Context, program string, args []string) error {
	switch program {
	case "controller":
		return control(ctx, args)
	case "webhook":
		serveWebhook(ctx, args)
		return nil
	case "cainjector":
		return injectCAs(ctx)
	case "startupapicheck":
		return checkAPI(ctx)
	default:
		return fmt.Errorf("%s: not controller, webhook, cainjector or startupapicheck", program)
	}
}

// control runs the controllers until ctx ends.
func control(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("controller", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file with the address of the API server and a login")
	namespace := flags.String("cluster-resource-namespace", "", "namespace of the Secrets of ClusterIssuers")
	metrics := flags.String("metrics-listen-address", "", "where Prometheus may ask; nowhere by default")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return run(ctx, *kubeconfig, *namespace, *metrics)
}

func run(ctx context.Context, kubeconfig, namespace, metrics string) error {
	contexts, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         kubeconfig,
		KubernetesAPIQPS:   qps,
		KubernetesAPIBurst: burst,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: namespace},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: firstRetry,
			CertificateRequestMaximumBackoffDuration: longestRetry,
		},
	})
	if err != nil {
		return err
	}
	known := controller.Known()
	ended := make(chan error, len(known)+1)
	for _, construct := range known {
		one, err := construct(contexts)
		if err != nil {
			return err
		}
		go func() { ended <- one.Run(workers, ctx) }()
	}
	// All contexts share their informers.
	shared, err := contexts.Build()
	if err != nil {
		return err
	}
	if metrics != "" {
		listener, err := net.Listen("tcp", metrics)
		if err != nil {
			return err
		}
		all := shared.SharedInformerFactory.Certmanager().V1()
		shared.Metrics.SetupCertificateCollector(all.Certificates().Lister())
		shared.Metrics.SetupIssuerCollector(all.Issuers().Lister())
		shared.Metrics.SetupClusterIssuerCollector(all.ClusterIssuers().Lister())
		go func() { ended <- shared.Metrics.NewServer(listener).Serve(listener) }()
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	for range known {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}
