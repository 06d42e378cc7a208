"""The Coordinator on etcd."""
