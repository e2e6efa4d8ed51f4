# Partition key and paths are those of plugins/connectors/cosmosdb.py; results do not expire.

resource "azurerm_cosmosdb_account" "results" {
  name                          = "${local.short}-results"
  resource_group_name           = azurerm_resource_group.stoq.name
  location                      = azurerm_resource_group.stoq.location
  offer_type                    = "Standard"
  kind                          = "GlobalDocumentDB"
  local_authentication_disabled = true
  minimal_tls_version           = "Tls12"
  tags                          = local.tags
  # databases and containers are made by whoever manages the account, by no data client
  access_key_metadata_writes_enabled = false

  # a reader sees the head that was written last, whoever wrote it
  consistency_policy {
    consistency_level = "Strong"
  }

  geo_location {
    location          = azurerm_resource_group.stoq.location
    failover_priority = 0
  }

  capabilities {
    name = "EnableServerless"
  }

  backup {
    type = "Continuous"
    tier = "Continuous7Days"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "azurerm_cosmosdb_sql_database" "stoq" {
  name                = "stoq"
  resource_group_name = azurerm_resource_group.stoq.name
  account_name        = azurerm_cosmosdb_account.results.name
}

resource "azurerm_cosmosdb_sql_container" "results" {
  name                  = "results"
  resource_group_name   = azurerm_resource_group.stoq.name
  account_name          = azurerm_cosmosdb_account.results.name
  database_name         = azurerm_cosmosdb_sql_database.stoq.name
  partition_key_paths   = ["/scan_id"]
  partition_key_version = 2

  indexing_policy {
    indexing_mode = "consistent"

    included_path {
      path = "/*"
    }
    # what nobody searches: pieces of documents, and lists that only readers of a head need
    excluded_path {
      path = "/data/?"
    }
    excluded_path {
      path = "/payload_ids/*"
    }
    excluded_path {
      path = "/summary/*"
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}
