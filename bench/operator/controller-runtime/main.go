// A small operator in controller-runtime that makes the very children that ours makes, to be measured beside it. Not an operator to use:
// it only creates, from a template that the bench dumps, and writes one condition.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const manager = "controller-runtime-bench"

var taskQueues = schema.GroupVersionKind{Group: "taskqueue.dev", Version: "v1alpha1", Kind: "TaskQueue"}

type reconciler struct {
	client   client.Client
	scheme   *runtime.Scheme
	template string
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	queue := &unstructured.Unstructured{}
	queue.SetGroupVersionKind(taskQueues)
	if err := r.client.Get(ctx, request.NamespacedName, queue); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	children, err := r.children(queue)
	if err != nil {
		return ctrl.Result{}, err
	}
	for i := range children {
		if err := r.ensure(ctx, &children[i]); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{}, r.tell(ctx, queue)
}

func (r *reconciler) children(queue *unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	text := strings.NewReplacer("@NAME@", queue.GetName(), "@UID@", string(queue.GetUID())).Replace(r.template)
	var objects []map[string]any
	if err := json.Unmarshal([]byte(text), &objects); err != nil {
		return nil, err
	}
	children := make([]unstructured.Unstructured, 0, len(objects))
	for _, object := range objects {
		children = append(children, unstructured.Unstructured{Object: object})
	}
	return children, nil
}

// Looks in the informer's cache, and applies what is not there.
func (r *reconciler) ensure(ctx context.Context, child *unstructured.Unstructured) error {
	known, err := r.scheme.New(child.GroupVersionKind())
	if err != nil {
		return err
	}
	err = r.client.Get(ctx, client.ObjectKeyFromObject(child), known.(client.Object))
	if !apierrors.IsNotFound(err) {
		return err
	}
	return r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(child), client.FieldOwner(manager), client.ForceOwnership)
}

// One condition, once for each generation.
func (r *reconciler) tell(ctx context.Context, queue *unstructured.Unstructured) error {
	observed, _, _ := unstructured.NestedInt64(queue.Object, "status", "observedGeneration")
	if observed == queue.GetGeneration() {
		return nil
	}
	before := queue.DeepCopy()
	condition := map[string]any{
		"type": "Ready", "status": "False", "reason": "WorkersNotReady", "message": "No worker is ready yet.",
		"observedGeneration": queue.GetGeneration(), "lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
	}
	status := map[string]any{"observedGeneration": queue.GetGeneration(), "conditions": []any{condition}}
	if err := unstructured.SetNestedField(queue.Object, status, "status"); err != nil {
		return err
	}
	return r.client.Status().Patch(ctx, queue, client.MergeFrom(before))
}

func main() {
	file := flag.String("template", "", "JSON list of one TaskQueue's children, with @NAME@ and @UID@")
	concurrency := flag.Int("concurrency", 8, "reconciles at once")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*file, *concurrency); err != nil {
		log.Log.Error(err, "can not go on")
		os.Exit(1)
	}
}

func run(file string, concurrency int) error {
	template, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	config := ctrl.GetConfigOrDie()
	// client-go's own limit of 20 requests a second would be all that is measured.
	config.QPS, config.Burst = 10000, 10000
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": "taskqueue-operator"})}
	kinds := []client.Object{
		&appsv1.Deployment{}, &corev1.Pod{}, &corev1.ConfigMap{}, &corev1.PersistentVolumeClaim{},
		&corev1.ServiceAccount{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{},
	}
	byObject := map[client.Object]cache.ByObject{}
	for _, kind := range kinds {
		byObject[kind] = ours
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		Cache:   cache.Options{ByObject: byObject},
		Client:  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
	})
	if err != nil {
		return err
	}
	queue := &unstructured.Unstructured{}
	queue.SetGroupVersionKind(taskQueues)
	builder := ctrl.NewControllerManagedBy(manager).For(queue).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency})
	for _, kind := range kinds {
		builder = builder.Owns(kind)
	}
	if err := builder.Complete(&reconciler{manager.GetClient(), scheme, string(template)}); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
