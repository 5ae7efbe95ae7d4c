//! Nothing: this crate is its tests. They read the manifests of `k8s/`, rendered, and assert what they mean to a cluster:
//! what the schemas of Kubernetes cannot tell, and what would break silently when code and manifests part ways.
