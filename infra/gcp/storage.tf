# Buckets: private, versioned, encrypted with a key of one's own; what came in and what is archived stays.

resource "google_kms_key_ring" "stoq" {
  name       = local.name
  location   = var.region
  depends_on = [google_project_service.needed]
}

resource "google_kms_crypto_key" "stoq" {
  name            = "data"
  key_ring        = google_kms_key_ring.stoq.id
  rotation_period = "7776000s"
  labels          = local.labels

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "storage" {
  crypto_key_id = google_kms_crypto_key.stoq.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.gcs
}

resource "google_kms_crypto_key_iam_member" "pubsub" {
  crypto_key_id = google_kms_crypto_key.stoq.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.pubsub
  depends_on    = [google_project_service_identity.pubsub]
}

resource "google_storage_bucket" "incoming" {
  name                        = "${local.name}-incoming-${data.google_project.this.number}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.stoq.id
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

resource "google_storage_bucket" "archive" {
  name                        = "${local.name}-archive-${data.google_project.this.number}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.stoq.id
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# bundles; the one that runs and those before it
resource "google_storage_bucket" "source" {
  name                        = "${local.name}-source-${data.google_project.this.number}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.stoq.id
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

resource "google_storage_bucket_object" "bundle" {
  name   = "stoq-${filesha256(var.bundle)}.zip"
  bucket = google_storage_bucket.source.name
  source = var.bundle
}
