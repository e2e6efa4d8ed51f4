# Three accounts, since rights on an account reach all that is in it: what comes in, what is kept, and
# what the Functions host keeps for itself. None has keys, none shows anything to the public.

resource "azurerm_storage_account" "incoming" {
  name                              = "${local.short}in"
  resource_group_name               = azurerm_resource_group.stoq.name
  location                          = azurerm_resource_group.stoq.location
  account_tier                      = "Standard"
  account_replication_type          = "ZRS"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  default_to_oauth_authentication   = true
  tags                              = local.tags

  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 14
    }
    container_delete_retention_policy {
      days = 14
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_storage_container" "incoming" {
  name                  = "incoming"
  storage_account_id    = azurerm_storage_account.incoming.id
  container_access_type = "private"
}

resource "azurerm_storage_account" "archive" {
  name                              = "${local.short}ar"
  resource_group_name               = azurerm_resource_group.stoq.name
  location                          = azurerm_resource_group.stoq.location
  account_tier                      = "Standard"
  account_replication_type          = "ZRS"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  default_to_oauth_authentication   = true
  tags                              = local.tags

  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 14
    }
    container_delete_retention_policy {
      days = 14
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_storage_container" "archive" {
  name                  = "archive"
  storage_account_id    = azurerm_storage_account.archive.id
  container_access_type = "private"
}

resource "azurerm_storage_account" "host" {
  name                              = "${local.short}ho"
  resource_group_name               = azurerm_resource_group.stoq.name
  location                          = azurerm_resource_group.stoq.location
  account_tier                      = "Standard"
  account_replication_type          = "LRS"
  min_tls_version                   = "TLS1_2"
  https_traffic_only_enabled        = true
  shared_access_key_enabled         = false
  allow_nested_items_to_be_public   = false
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  default_to_oauth_authentication   = true
  tags                              = local.tags
}

resource "azurerm_storage_container" "deployment" {
  name                  = "deployment"
  storage_account_id    = azurerm_storage_account.host.id
  container_access_type = "private"
}
