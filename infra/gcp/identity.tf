# Who may do what where. No account has a key; each has what it needs and nothing else.

resource "google_service_account" "scan" {
  account_id   = "${local.name}-scan"
  display_name = "stoQ: scans"
}

resource "google_service_account" "push" {
  account_id   = "${local.name}-push"
  display_name = "stoQ: hands messages to the function"
}

resource "google_service_account" "build" {
  account_id   = "${local.name}-build"
  display_name = "stoQ: makes the function of its bundle"
}

# The function may neither read the archive nor change what came in.

# with storage.objects.list: without it a deleted object looks like a denied one
resource "google_storage_bucket_iam_member" "scan_reads" {
  bucket = google_storage_bucket.incoming.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.scan.member
}

resource "google_project_iam_custom_role" "adds_objects" {
  role_id     = "stoq_${var.stage}_adds_objects"
  title       = "stoQ: adds objects"
  description = "Adds what is not there yet and sees what is; reads, replaces and deletes nothing"
  permissions = ["storage.objects.create", "storage.objects.list"]
}

resource "google_storage_bucket_iam_member" "scan_archives" {
  bucket = google_storage_bucket.archive.name
  role   = google_project_iam_custom_role.adds_objects.id
  member = google_service_account.scan.member
}

# Firestore's roles are a project's: the condition makes it this database's
resource "google_project_iam_member" "scan_stores" {
  project = var.project
  role    = "roles/datastore.user"
  member  = google_service_account.scan.member

  condition {
    title      = "${local.name} alone"
    expression = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.results.name}\""
  }
}

# Pub/Sub's way to the function and to the dead letters.

resource "google_cloud_run_service_iam_member" "push_invokes" {
  location = var.region
  service  = google_cloudfunctions2_function.scan.name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}

resource "google_pubsub_topic_iam_member" "storage_publishes" {
  topic  = google_pubsub_topic.incoming.name
  role   = "roles/pubsub.publisher"
  member = local.gcs
}

resource "google_pubsub_topic_iam_member" "pubsub_keeps_dead_letters" {
  topic      = google_pubsub_topic.dead_letters.name
  role       = "roles/pubsub.publisher"
  member     = local.pubsub
  depends_on = [google_project_service_identity.pubsub]
}

resource "google_pubsub_subscription_iam_member" "pubsub_takes_dead_letters" {
  subscription = google_pubsub_subscription.incoming.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub
  depends_on   = [google_project_service_identity.pubsub]
}

# What Cloud Build needs to make the function.

resource "google_storage_bucket_iam_member" "build_reads" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

resource "google_project_iam_member" "build_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

resource "google_project_iam_member" "build_stores_images" {
  project = var.project
  role    = "roles/artifactregistry.writer"
  member  = google_service_account.build.member
}
