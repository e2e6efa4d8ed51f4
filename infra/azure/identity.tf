# What the function may do, and nothing else: it may neither read the archive nor change what came in.

resource "azurerm_user_assigned_identity" "scan" {
  name                = "${local.name}-scan"
  resource_group_name = azurerm_resource_group.stoq.name
  location            = azurerm_resource_group.stoq.location
  tags                = local.tags
}

resource "azurerm_role_assignment" "scan_reads_incoming" {
  scope                = "${azurerm_storage_account.incoming.id}/blobServices/default/containers/${azurerm_storage_container.incoming.name}"
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.scan.principal_id
  principal_type       = "ServicePrincipal"
}

# the host takes messages, keeps them unseen while they are scanned, and puts them aside
resource "azurerm_role_assignment" "scan_takes_messages" {
  scope                = "${azurerm_storage_account.incoming.id}/queueServices/default/queues/${azurerm_storage_queue.incoming.name}"
  role_definition_name = "Storage Queue Data Contributor"
  principal_id         = azurerm_user_assigned_identity.scan.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "scan_puts_aside" {
  scope                = "${azurerm_storage_account.incoming.id}/queueServices/default/queues/${azurerm_storage_queue.poison.name}"
  role_definition_name = "Storage Queue Data Contributor"
  principal_id         = azurerm_user_assigned_identity.scan.principal_id
  principal_type       = "ServicePrincipal"
}

# no built-in role adds blobs without the right to read and delete them
resource "azurerm_role_definition" "adds_blobs" {
  name        = "${local.name} adds blobs"
  scope       = azurerm_storage_account.archive.id
  description = "Creates blobs; may not read, overwrite or delete them"

  permissions {
    data_actions = ["Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action"]
  }
}

resource "azurerm_role_assignment" "scan_archives" {
  scope              = "${azurerm_storage_account.archive.id}/blobServices/default/containers/${azurerm_storage_container.archive.name}"
  role_definition_id = azurerm_role_definition.adds_blobs.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.scan.principal_id
  principal_type     = "ServicePrincipal"
}

resource "azurerm_cosmosdb_sql_role_definition" "stores_results" {
  name                = "${local.name} stores results"
  resource_group_name = azurerm_resource_group.stoq.name
  account_name        = azurerm_cosmosdb_account.results.name
  type                = "CustomRole"
  assignable_scopes   = [azurerm_cosmosdb_account.results.id]

  permissions {
    data_actions = [
      "Microsoft.DocumentDB/databaseAccounts/readMetadata",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/executeQuery",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/create",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/delete",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/replace",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/upsert",
    ]
  }
}

resource "azurerm_cosmosdb_sql_role_assignment" "scan_stores_results" {
  resource_group_name = azurerm_resource_group.stoq.name
  account_name        = azurerm_cosmosdb_account.results.name
  role_definition_id  = azurerm_cosmosdb_sql_role_definition.stores_results.id
  principal_id        = azurerm_user_assigned_identity.scan.principal_id
  scope               = "${azurerm_cosmosdb_account.results.id}/dbs/${azurerm_cosmosdb_sql_database.stoq.name}/colls/${azurerm_cosmosdb_sql_container.results.name}"
}

# what the Functions host asks for on the account that is its own: locks, keys, the deployed bundle
resource "azurerm_role_assignment" "host_keeps_its_own" {
  scope                = azurerm_storage_account.host.id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = azurerm_user_assigned_identity.scan.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "scan_logs" {
  scope                = azurerm_application_insights.stoq.id
  role_definition_name = "Monitoring Metrics Publisher"
  principal_id         = azurerm_user_assigned_identity.scan.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "topic_sends" {
  scope                = "${azurerm_storage_account.incoming.id}/queueServices/default/queues/${azurerm_storage_queue.incoming.name}"
  role_definition_name = "Storage Queue Data Message Sender"
  principal_id         = azurerm_eventgrid_system_topic.incoming.identity[0].principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_role_assignment" "topic_keeps_undelivered" {
  scope                = "${azurerm_storage_account.incoming.id}/blobServices/default/containers/${azurerm_storage_container.undelivered.name}"
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_eventgrid_system_topic.incoming.identity[0].principal_id
  principal_type       = "ServicePrincipal"
}
