// Definitions of kinds that tests install: no program is built from it.
// After a change: go mod download github.com/kubernetes-csi/external-snapshotter/client/v8 github.com/vmware-tanzu/velero.
module foureyes.dev/testbed/definitions

go 1.26.0

require (
	github.com/kubernetes-csi/external-snapshotter/client/v8 v8.7.0
	github.com/vmware-tanzu/velero v1.18.3
)
