//! This crate consists of its tests. They render the manifests of `k8s/` and check their effect in a cluster: what the
//! schemas of Kubernetes cannot check, and whether code and manifests agree.
