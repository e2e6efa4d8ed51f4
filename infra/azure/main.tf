# stoQ on Azure: blobs put into a container are scanned, archived and stored.
#   make deploy CLOUD=azure STAGE=prod
# Names, limits and the numbers of retries stand here and in host.json; tests/infra holds them together.

terraform {
  required_version = ">= 1.9"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.60"
    }
  }
}

provider "azurerm" {
  features {}
  # no account has keys: Terraform too comes as whoever runs it
  storage_use_azuread = true
}

variable "stage" {
  description = "Part of every name, such as dev or prod"
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]{1,8}$", var.stage))
    error_message = "One to eight small letters and digits."
  }
}

variable "location" {
  description = "A region that has the Flex Consumption plan"
  type        = string
  default     = "westeurope"
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

data "azurerm_client_config" "current" {}

locals {
  name = "stoq-${var.stage}"
  # storage accounts' names are the world's: letters and digits, 24 at most
  short = "stoq${var.stage}${substr(sha1("${data.azurerm_client_config.current.subscription_id}/${var.stage}"), 0, 8)}"
  tags  = { application = "stoq", stage = var.stage }
}

resource "azurerm_resource_group" "stoq" {
  name     = local.name
  location = var.location
  tags     = local.tags
}

output "function_app" {
  value = azurerm_function_app_flex_consumption.scan.name
}

output "resource_group" {
  value = azurerm_resource_group.stoq.name
}

output "incoming" {
  description = "Where files go"
  value       = "${azurerm_storage_account.incoming.primary_blob_endpoint}${azurerm_storage_container.incoming.name}"
}

output "results" {
  value = azurerm_cosmosdb_account.results.endpoint
}
