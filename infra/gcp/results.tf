# Results: the collections, fields and indexes are those of plugins/connectors/firestore.py; they do not expire.

resource "google_firestore_database" "results" {
  name                              = local.name
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = "DELETE_PROTECTION_ENABLED"
  deletion_policy                   = "ABANDON"
  depends_on                        = [google_project_service.needed]
}

resource "google_firestore_index" "by_verdict" {
  database   = google_firestore_database.results.name
  collection = "results"

  fields {
    field_path = "verdict"
    order      = "ASCENDING"
  }

  fields {
    field_path = "time"
    order      = "DESCENDING"
  }
}

# searched over the parts of all scans
resource "google_firestore_field" "sha256s" {
  database   = google_firestore_database.results.name
  collection = "parts"
  field      = "sha256s"

  index_config {
    indexes {
      array_config = "CONTAINS"
      query_scope  = "COLLECTION_GROUP"
    }
  }
}

# pieces of documents: nobody looks anything up by them
resource "google_firestore_field" "data" {
  database   = google_firestore_database.results.name
  collection = "parts"
  field      = "data"

  index_config {}
}
