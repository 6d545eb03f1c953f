output "names" {
  description = "Names of the budgets."
  value       = { for key, budget in aws_budgets_budget.this : key => budget.name }
}
