# stoQ on Google Cloud: objects put into a bucket are scanned, archived and stored.
#   make deploy CLOUD=gcp STAGE=prod
# tests/infra holds names, limits and the numbers of retries together with serverless.yml and the settings.

terraform {
  required_version = ">= 1.9"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

variable "project" {
  description = "The project's id"
  type        = string
}

variable "stage" {
  description = "Part of every name, such as dev or prod"
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]{1,8}$", var.stage))
    error_message = "One to eight small letters and digits."
  }
}

variable "region" {
  description = "Where everything is"
  type        = string
  default     = "europe-west1"
}

variable "instances" {
  description = "How many instances may scan at once"
  type        = number
  default     = 50
}

variable "always" {
  description = "Workers for every payload beside the shipped ones, as JSON"
  type        = string
  default     = "[]"
}

variable "bundle" {
  description = "The zip that `make bundle CLOUD=gcp` makes"
  type        = string
  default     = "../../build/stoq-gcp-x86_64.zip"
}

data "google_project" "this" {}

data "google_storage_project_service_account" "storage" {
  depends_on = [google_project_service.needed]
}

locals {
  name   = "stoq-${var.stage}"
  labels = { application = "stoq", stage = var.stage }
  # Google's own accounts of these services in this project
  pubsub = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  gcs    = "serviceAccount:${data.google_storage_project_service_account.storage.email_address}"
}

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudkms.googleapis.com",
    "firestore.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.value
  disable_on_destroy = false
}

# Google makes this account when it is first asked for
resource "google_project_service_identity" "pubsub" {
  service    = "pubsub.googleapis.com"
  depends_on = [google_project_service.needed]
}

output "incoming" {
  description = "Where files go"
  value       = google_storage_bucket.incoming.url
}

output "function" {
  value = google_cloudfunctions2_function.scan.name
}

output "results" {
  description = "The Firestore database"
  value       = google_firestore_database.results.name
}
