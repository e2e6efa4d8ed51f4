# The function: one object an instance at a time, so its time, its memory and its delivery count are its own.

resource "google_cloudfunctions2_function" "scan" {
  name        = "${local.name}-scan"
  location    = var.region
  description = "Scans what the topic names, archives it and stores the result"
  labels      = local.labels

  build_config {
    runtime         = "python313"
    entry_point     = "pubsub"
    service_account = google_service_account.build.id

    source {
      storage_source {
        bucket     = google_storage_bucket.source.name
        object     = google_storage_bucket_object.bundle.name
        generation = google_storage_bucket_object.bundle.generation
      }
    }
  }

  service_config {
    available_memory                 = "2048Mi"
    available_cpu                    = "1"
    timeout_seconds                  = 540
    max_instance_count               = var.instances
    max_instance_request_concurrency = 1
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    service_account_email            = google_service_account.scan.email

    environment_variables = {
      STOQ_DEPLOYMENT = local.name
      # no scratch folder: the disk is memory
      STOQ_SCAN__ALWAYS                   = var.always
      STOQ_SCAN__FETCH                    = "{\"gcs\":\"gcs\"}"
      STOQ_SCAN__ARCHIVERS                = "[\"gcs\"]"
      STOQ_SCAN__CONNECTORS               = "[\"firestore\"]"
      STOQ_LIMITS__REQUEST_WALL_MS        = "540000"
      STOQ_ARCHIVER__GCS__BUCKET          = google_storage_bucket.archive.name
      STOQ_CONNECTOR__FIRESTORE__PROJECT  = var.project
      STOQ_CONNECTOR__FIRESTORE__DATABASE = google_firestore_database.results.name
      STOQ_TRIGGER__BUCKET                = google_storage_bucket.incoming.name
    }
  }

  depends_on = [
    google_project_iam_member.build_logs,
    google_project_iam_member.build_stores_images,
    google_storage_bucket_iam_member.build_reads,
  ]
}
