package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/cmapichecker"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
)

// The chart's.
const longestWait = time.Minute

// checkAPI waits until the API server shows requests for certificates to the webhook.
func checkAPI(ctx context.Context) error {
	checker, err := cmapichecker.New(ctrl.GetConfigOrDie(), os.Getenv("POD_NAMESPACE"))
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 5*time.Second, longestWait, true, func(ctx context.Context) (bool, error) {
		err := checker.Check(ctx)
		if err != nil {
			log.Print(err)
		}
		return err == nil, nil
	})
}
