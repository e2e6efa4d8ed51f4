# Bucket → topic → push → function. Pub/Sub counts the deliveries of a subscription that has dead letters,
# which is what safe mode goes by; Eventarc's own trigger would neither count nor keep what cannot be parsed.

resource "google_pubsub_topic" "incoming" {
  name         = "${local.name}-incoming"
  kms_key_name = google_kms_crypto_key.stoq.id
  labels       = local.labels
  depends_on   = [google_kms_crypto_key_iam_member.pubsub]
}

resource "google_pubsub_topic" "dead_letters" {
  name         = "${local.name}-dead-letters"
  kms_key_name = google_kms_crypto_key.stoq.id
  labels       = local.labels
  depends_on   = [google_kms_crypto_key_iam_member.pubsub]
}

resource "google_storage_notification" "incoming" {
  bucket         = google_storage_bucket.incoming.name
  topic          = google_pubsub_topic.incoming.id
  payload_format = "JSON_API_V1"
  event_types    = ["OBJECT_FINALIZE"]
  depends_on     = [google_pubsub_topic_iam_member.storage_publishes]
}

resource "google_pubsub_subscription" "incoming" {
  name  = "${local.name}-incoming"
  topic = google_pubsub_topic.incoming.id
  # the longest there is, and longer than the function's timeout: else a message comes again while it is scanned
  ack_deadline_seconds       = 600
  message_retention_duration = "1209600s"
  labels                     = local.labels

  push_config {
    push_endpoint = google_cloudfunctions2_function.scan.service_config[0].uri
    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = google_cloudfunctions2_function.scan.service_config[0].uri
    }
  }

  dead_letter_policy {
    dead_letter_topic = google_pubsub_topic.dead_letters.id
    # the third delivery is scanned in safe mode, so a bad file never gets this far
    max_delivery_attempts = 5
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # never
  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_service_iam_member.push_invokes]
}

# a topic keeps nothing itself
resource "google_pubsub_subscription" "dead_letters" {
  name                       = "${local.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = "1209600s"
  labels                     = local.labels

  expiration_policy {
    ttl = ""
  }
}
